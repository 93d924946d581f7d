"""A catalogue in PostgreSQL does what one in SQLite does, whatever is done in whatever order."""

from __future__ import annotations

import os
import random
from typing import Any

from twisted.internet.defer import Deferred

from blobman.errors import BlobError
from blobman.model import Flags
from blobman.server.storage.catalogue.interface import ICatalogue, Publication
from blobman.server.storage.catalogue.sqlite import SQLiteCatalogue
from blobman.server.storage.interface import BlobName
from blobman.testing.contracts.support import query, sealed

from .case import PostgresCase

SEED = os.environ.get("BLOBMAN_TEST_SEED", "1")
STEPS = 400

USERS, NAMESPACES, IDS = ("alice", "bob"), ("default", "mail"), ("a", "b", "C", "d-", "d_", "dd")
ORDERS = (None, "date", "-date")


class AlikeTests(PostgresCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.chance = random.Random(SEED)
        self.model = SQLiteCatalogue()
        await self.model.open()
        self.addCleanup(self.model.close)
        self.owners: dict[str, str] = {}

    async def both(self, method: str, *arguments: Any, **named: Any) -> Any:
        """Ask both for the same, and hold what they say against each other."""
        expected, outcome = [
            await told(getattr(catalogue, method)(*arguments, **named))
            for catalogue in (self.model, self.catalogue)
        ]
        self.assertEqual(outcome, expected, f"{method}{arguments}")
        return outcome

    async def test_random_histories(self) -> None:
        steps = (
            *(self.publish, self.publish, self.publish_several, self.delete, self.set_flags),
            *(self.reserve, self.extend, self.abandon, self.publish_large, self.set_quota),
        )
        for _ in range(STEPS):
            await self.chance.choice(steps)()
            await self.look(self.chance.choice(USERS), self.chance.choice(NAMESPACES))
        await self.both("usage")
        await self.both("quotas")

    def name(self, user: str = "") -> BlobName:
        user = user or self.chance.choice(USERS)
        return BlobName(user, self.chance.choice(NAMESPACES), self.chance.choice(IDS))

    def flags(self) -> tuple[Flags, ...]:
        return tuple(self.chance.sample(list(Flags), self.chance.randrange(3)))

    def small(self) -> Publication:
        blob, size = self.name(), self.chance.randrange(400)
        content = sealed(str(self.chance.random()), size)
        return Publication(blob, size, content[-16:], content, flags=self.flags())

    # -- what is done --------------------------------------------------------------------

    async def publish(self) -> None:
        await self.both("publish", [self.small()])

    async def publish_several(self) -> None:
        # Of one user: of several, PostgreSQL judges one after another.
        blobs = [self.small() for _ in range(4)]
        await self.both("publish", [it for it in blobs if it.name[:2] == blobs[0].name[:2]])

    async def delete(self) -> None:
        await self.both("delete", self.name())

    async def set_flags(self) -> None:
        await self.both("set_flags", self.name(), self.flags())

    async def reserve(self) -> None:
        key, blob = f"{len(self.owners):032}", self.name()
        self.owners[key] = blob.user
        await self.both("reserve", blob, key, self.chance.randrange(500))

    def key(self) -> str:
        return self.chance.choice([*[*self.owners][-8:], "f" * 32])

    async def extend(self) -> None:
        await self.both("extend", self.key(), self.chance.randrange(600))

    async def abandon(self) -> None:
        await self.both("abandon", self.key())

    async def publish_large(self) -> None:
        key = self.key()
        blob = self.name(self.owners.get(key, ""))
        await self.both("publish", [Publication(blob, 300, b"t" * 16, key=key, digests=b"d" * 16)])

    async def set_quota(self) -> None:
        user = self.chance.choice((None, *USERS))
        if user is not None and self.chance.random() < 0.5:
            await self.both("unset_quota", user)
        else:
            await self.both("set_quota", user, self.chance.choice((None, 0, 800, 3000)))

    # -- what can be seen ------------------------------------------------------------------

    async def look(self, user: str, namespace: str) -> None:
        order, most = self.chance.choice(ORDERS), self.chance.randrange(1, 7)
        for asked in (
            query(namespace=namespace, order_by=order),
            query(namespace=namespace, order_by=order, deleted=True),
            query(namespace=namespace, order_by=order, flag=self.chance.choice(list(Flags))),
        ):
            expected, pages = [
                await self.pages(it, user, asked, most) for it in (self.model, self.catalogue)
            ]
            self.assertEqual(pages, expected, asked)
            await self.both("count", user, asked)
        listed = [await changes(it, user, namespace) for it in (self.model, self.catalogue)]
        self.assertEqual(*listed)
        await self.both("namespaces", user)
        await self.both("get_flags", self.name())
        found = [
            [it and it._replace(date=0) for it in await catalogue.find(names, 500)]
            for names in [[self.name() for _ in range(6)]]
            for catalogue in (self.model, self.catalogue)
        ]
        self.assertEqual(*found)

    async def pages(
        self, catalogue: ICatalogue, user: str, asked: Any, most: int
    ) -> list[list[str]]:
        page = await catalogue.page(user, asked, None, most)
        pages = [page.ids]
        while page.after is not None:
            page = await catalogue.page(user, asked, page.after, most)
            pages.append(page.ids)
        return pages


async def told(deferred: Deferred[Any]) -> Any:
    """Give what was told, or what kind of error it was."""
    try:
        result = await deferred
    except BlobError as error:
        return type(error)
    if isinstance(result, list):
        return [type(it) if isinstance(it, BlobError) else it for it in result]
    return result


async def changes(catalogue: ICatalogue, user: str, namespace: str) -> list[tuple[Any, ...]]:
    """List changes without their numbers and dates, which need not be the same."""
    listed = await catalogue.changes(user, namespace, 0, 1000)
    return [(it.blob_id, it.size, it.tag, it.flags) for it in listed]
