"""All namespaces of a user, and all of them brought into step."""

from __future__ import annotations

from blobman import (
    MaximumRetriesError,
    NotConfiguredError,
    RetriableTransferError,
    SyncResult,
    SyncStatus,
    UnauthorizedError,
)

from .support import ServerTestCase, doc
from .test_sync import put


class NamespacesTests(ServerTestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.laptop, self.phone = self.manager("laptop"), self.manager("phone")

    async def test_none(self) -> None:
        self.assertEqual(await self.laptop.namespaces(), [])
        self.assertEqual(await self.laptop.sync(None), SyncResult())

    async def test_here_and_there(self) -> None:
        for namespace in ("", "mail"):
            await put(self.laptop, "a", namespace=namespace)
        await self.phone.put(doc(b"", "b"), 0, "drafts", local_only=True)
        self.assertEqual(await self.laptop.namespaces(), ["", "mail"])
        self.assertEqual(await self.phone.namespaces(), ["", "drafts", "mail"])
        await self.laptop.delete("a", "mail")
        self.assertEqual(await self.phone.namespaces(), ["", "drafts"])

    async def test_without_one_of_the_two(self) -> None:
        await put(self.laptop, "a", namespace="mail")
        alone = self.manager("phone", remote=None)
        await alone.put(doc(b"", "b"), 0, "drafts", local_only=True)
        self.assertEqual(await alone.namespaces(), ["drafts"])
        self.assertEqual(await self.manager(local_path=None).namespaces(), ["mail"])
        with self.assertRaises(NotConfiguredError):
            await self.manager(local_path=None, remote=None).namespaces()

    async def test_a_machine_that_was_recovered_gets_everything(self) -> None:
        for number in range(12):
            await put(self.laptop, "a", "b", namespace=f"n{number}")
        await put(self.laptop, "a")
        self.assertEqual(await self.phone.sync(None), SyncResult(fetched=25))
        self.assertEqual(await self.phone.sync_progress, {"SYNCED": 25})

    async def test_what_waits_here_is_sent(self) -> None:
        await self.stop_server()
        for namespace in ("", "mail", "drafts"):
            with self.assertRaises(RetriableTransferError):
                await self.phone.put(doc(b"data", "x"), 4, namespace)
        await self.start_server()
        self.assertEqual(await self.phone.sync(None), SyncResult(sent=3))

    async def test_an_old_server(self) -> None:
        for namespace in ("", "mail", "old"):
            await put(self.laptop, "a", namespace=namespace)
        phone = self.manager("phone", remote=self.url_at(await self.old_port()))
        await phone.sync("mail")
        self.assertEqual(await phone.namespaces(), ["mail"])
        self.assertEqual(await phone.sync(None), SyncResult(fetched=1))
        self.assertEqual(await phone.namespaces(), ["", "mail"])

    async def test_one_that_fails_does_not_stop_the_others(self) -> None:
        for namespace in ("bad", "good", "worse"):
            await put(self.laptop, "x", "y", namespace=namespace)
        self.change_on_server("x", -20, "bad")
        self.change_on_server("x", -20, "worse")
        with self.assertRaises(MaximumRetriesError) as caught:
            await self.phone.sync(None)
        self.assertIn("'bad'", str(caught.exception))
        result = caught.exception.result
        self.assertEqual(result.fetched, 4)
        self.assertEqual(
            [it[:3] for it in result.left],
            [(it, "x", SyncStatus.FAILED_DOWNLOAD) for it in ("bad", "worse")],
        )
        self.assertEqual([it[0] for it in (await self.phone.sync(None)).left], ["bad", "worse"])

    async def test_a_server_that_does_not_accept_the_token(self) -> None:
        await put(self.laptop, "x", namespace="mail")
        await self.laptop.close()
        stranger = self.manager("laptop", token="stolen")
        for operation in (stranger.namespaces, lambda: stranger.sync(None)):
            with self.assertRaises(UnauthorizedError):
                await operation()
