"""Blobs that others sealed, on the command line."""

from __future__ import annotations

from pathlib import Path

from blobman.server.storage.interface import BlobName

from ..test_external_blobs import delivered
from .harness import USER, ServerCase


class ExternalTests(ServerCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        await self.deliver("letter", b"from others", "MX")

    async def deliver(self, blob_id: str, data: bytes, namespace: str) -> None:
        stored = delivered(blob_id, data)
        upload = await self.service.backend.receive(BlobName(USER, namespace, blob_id), len(stored))
        await upload.write([stored])
        await upload.publish()

    async def test_it_takes_an_option_to_have_one_written(self) -> None:
        out = self.path("out")
        self.let(external_namespaces="other,MX")
        line = await self.refuse(7, "get", "letter", "-n", "MX", "-o", out)
        self.assertIn("--external", line)
        self.assertFalse(Path(out).exists())
        await self.succeed("get", "letter", "-n", "MX", "-o", out, "--external", "-q")
        self.assertEqual(Path(out).read_bytes(), b"from others")

    async def test_the_option_is_enough(self) -> None:
        out = self.path("out")
        await self.refuse(7, "get", "letter", "-n", "MX", "-o", out)
        [record] = (
            await self.succeed("get", "letter", "-n", "MX", "-o", out, "--external", "--json")
        ).records
        self.assertEqual(record, {"id": "letter", "file": out, "external": True})

    async def test_one_that_has_a_seal_needs_none(self) -> None:
        await self.put(b"mine", "--id", "mine")
        for options in ([], ["--external"]):
            out = self.path(f"out{len(options)}")
            [record] = (await self.succeed("get", "mine", "-o", out, "--json", *options)).records
            self.assertEqual(record, {"id": "mine", "file": out, "external": False})

    async def test_a_sync_leaves_it_behind_where_it_is_not_expected(self) -> None:
        outcome = await self.run_command("sync", "-n", "MX")
        self.assertEqual(outcome.code, 7, outcome)
        self.assertEqual((await self.succeed("ls", "-n", "MX")).lines, [])

    async def test_lists_and_checks_say_which(self) -> None:
        self.let(external_namespaces="MX")
        await self.put(b"mine", "--id", "mine", "-n", "MX")
        await self.succeed("sync", "-n", "MX", "-q")
        self.assertEqual(
            sorted((await self.succeed("ls", "-n", "MX", "--long")).lines),
            ["letter  local  SYNCED, external  11 B", "mine    local  SYNCED             4 B"],
        )
        records = (await self.succeed("ls", "-n", "MX", "--long", "--json")).records
        self.assertEqual(
            {it["id"]: it["external"] for it in records}, {"letter": True, "mine": False}
        )
        outcome = await self.run_command("verify", "-n", "MX")
        self.assertEqual(outcome.code, 0)
        self.assertIn("2 are the same on the server\n1 of them external", outcome.err)
        records = (await self.succeed("verify", "-n", "MX", "--json")).records
        self.assertEqual(
            {it["verified"]: it["external"] for it in records}, {"letter": True, "mine": False}
        )

    async def test_a_namespace_that_is_none(self) -> None:
        self.let(external_namespaces="MX,a b")
        self.assertIn("external_namespaces", await self.refuse(2, "sync"))
