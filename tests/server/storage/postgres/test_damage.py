"""Rows that are not as they were written: none of their bytes are handed out."""

from __future__ import annotations

from blobman.server.storage.interface import DamagedError
from blobman.testing.contracts.catalogue_case import CatalogueCase, large, small
from blobman.testing.contracts.support import name, sealed

from ...postgres import shared_cluster
from .case import PostgresCase


class DamageTests(CatalogueCase, PostgresCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.database = self.url.partition("@/")[2].partition("?")[0]
        await self.put(*[small(name(it)) for it in "abc"])
        await self.catalogue.reserve(name("l"), "1" * 32, 1_000_000)
        await self.put(large(name("l"), "1" * 32))

    def change(self, blob_id: str, what: str) -> None:
        shared_cluster().run(
            f"UPDATE blobman.blobs SET {what} WHERE id = '{blob_id}'", self.database
        )

    async def test_each_column_that_never_changes(self) -> None:
        for blob_id, what in (
            ("a", "body = 'other'"),
            ("a", "body = substr(body, 2)"),
            ("a", "size = size + 1"),
            ("a", "tag = body"),
            ("a", "key = 'other'"),
            ("l", "key = 'other'"),
            ("l", "key = NULL"),
            ("l", "size = 1"),
            ("l", "body = ''"),
        ):
            columns = "size, tag, key, body"
            kept = f"({columns}) = (SELECT {columns} FROM blobman.kept WHERE kept.id = blobs.id)"
            shared_cluster().run("CREATE TABLE blobman.kept AS TABLE blobman.blobs", self.database)
            self.change(blob_id, what)
            await self.assertFailure(self.catalogue.find([name(blob_id)], 1), DamagedError)
            self.change(blob_id, kept)
            shared_cluster().run("DROP TABLE blobman.kept", self.database)
            self.assertIsNotNone(await self.find(name(blob_id)))

    async def test_those_before_it_are_found(self) -> None:
        """It is told when it is its turn."""
        self.change("b", "body = 'other'")
        names = [name(it) for it in "abc"]
        (entry,) = await self.catalogue.find(names, 10**9)
        self.assertEqual(entry and entry.content, sealed("a"))
        await self.assertFailure(self.catalogue.find(names[1:], 10**9), DamagedError)

    async def test_flags_that_are_none(self) -> None:
        self.change("a", "flags = '9'")
        await self.assertFailure(self.catalogue.get_flags(name("a")), DamagedError)
