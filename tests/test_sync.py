"""Two managers and a server are brought into step."""

from __future__ import annotations

import gc
import os
import shutil
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, gatherResults
from zope.interface import implementer

from blobman import (
    BlobAlreadyExistsError,
    BlobManager,
    BlobNotFoundError,
    ITransferObserver,
    MaximumRetriesError,
    RetriableTransferError,
    ServerError,
    StoreFullError,
    SyncStatus,
    TransferProgress,
    UnauthorizedError,
)
from blobman.remote import BlobsClient
from blobman.transfers import progress

from .support import MB, ReactorWithClock, ServerTestCase, content, doc, engine_of
from .test_manager import status_of


async def put(manager: BlobManager, *blob_ids: str, namespace: str = "", size: int = 100) -> None:
    await gatherResults(
        [manager.put(doc(content(size, i), i), size, namespace=namespace) for i in blob_ids]
    )


class SyncTests(ServerTestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.laptop, self.phone = self.manager("laptop"), self.manager("phone")

    def corrupt(self, blob_id: str) -> None:
        self.change_on_server(blob_id, -20)

    async def test_nothing_to_do(self) -> None:
        await self.laptop.sync()
        self.assertEqual(await self.laptop.sync_progress, {})

    async def test_both_ways(self) -> None:
        await put(self.laptop, "a", "b")
        await put(self.phone, "c")
        await self.laptop.sync()
        await self.phone.sync()
        for manager in (self.laptop, self.phone):
            self.assertEqual(sorted(await manager.local_list()), ["a", "b", "c"])
            self.assertEqual(await manager.sync_progress, {"SYNCED": 3})
        self.assertEqual((await self.phone.get("a")).read(), content(100, "a"))

    async def test_one_namespace_at_a_time(self) -> None:
        await put(self.laptop, "a")
        await put(self.laptop, "a", "m", namespace="mail")
        await self.phone.sync("mail")
        self.assertEqual(await self.phone.local_list(), [])
        self.assertEqual(sorted(await self.phone.local_list("mail")), ["a", "m"])

    async def test_progress_counts_all_namespaces(self) -> None:
        await put(self.laptop, "a")
        await put(self.laptop, "a", namespace="mail")
        await self.laptop.put(doc(b"", "mine"), 0, local_only=True)
        self.assertEqual(await self.laptop.sync_progress, {"SYNCED": 2, "LOCAL_ONLY": 1})

    async def test_tombstones(self) -> None:
        await put(self.laptop, "gone", "kept")
        await put(self.laptop, "gone", namespace="mail")
        await self.phone.sync()
        await self.phone.sync("mail")
        await self.laptop.delete("gone")
        await self.phone.sync()
        await self.phone.sync("mail")
        self.assertEqual(await self.phone.local_list(), ["kept"])
        self.assertEqual(await self.phone.local_list("mail"), ["gone"])

    async def test_tombstone_of_a_blob_that_was_made_again(self) -> None:
        await put(self.laptop, "x")
        await self.phone.sync()
        await self.laptop.delete("x")
        await put(self.laptop, "x")
        await self.phone.sync()
        await self.laptop.sync()
        self.assertEqual(await self.phone.local_list(), ["x"])
        self.assertEqual(await self.laptop.local_list(), ["x"])

    async def test_tombstone_spares_what_is_not_synced(self) -> None:
        await put(self.laptop, "waiting", "mine")
        await self.laptop.delete("waiting")
        await self.laptop.delete("mine")
        await self.phone.put(doc(b"mine", "mine"), 4, local_only=True)
        await self.stop_server()
        with self.assertRaises(RetriableTransferError):
            await self.phone.put(doc(b"data", "waiting"), 4)
        await self.start_server()
        await self.phone.sync()
        self.assertEqual(sorted(await self.phone.local_list()), ["mine", "waiting"])
        self.assertEqual(await self.phone.remote_list(), ["waiting"])
        self.assertIs(await status_of(self.phone, "mine"), SyncStatus.LOCAL_ONLY)

    async def test_refresh_moves_nothing(self) -> None:
        await put(self.laptop, "a", "b")
        await self.phone.refresh_sync_status_from_server()
        self.assertEqual(await self.phone.sync_progress, {"PENDING_DOWNLOAD": 2})
        self.assertEqual(await self.phone.local_list(), [])
        await self.phone.fetch_missing()
        self.assertEqual(await self.phone.sync_progress, {"SYNCED": 2})

    async def test_refresh_applies_tombstones(self) -> None:
        await put(self.laptop, "a")
        await self.phone.sync()
        await self.laptop.delete("a")
        await self.phone.refresh_sync_status_from_server()
        await self.phone.send_missing()
        self.assertEqual((await self.phone.remote_list(), await self.phone.local_list()), ([], []))

    async def test_the_server_lost_it(self) -> None:
        await put(self.laptop, "a")
        before = self.on_server("a")
        await self.stop_server()
        shutil.rmtree(self.data)
        await self.start_server()
        await self.laptop.sync()
        self.assertEqual(self.on_server("a"), before)

    async def test_fetched_but_gone_meanwhile(self) -> None:
        await put(self.laptop, "a", "b")
        await self.phone.refresh_sync_status_from_server()
        await self.laptop.delete("a")
        with self.assertRaises(BlobNotFoundError):
            await self.phone.fetch_missing()
        await self.phone.refresh_sync_status_from_server()
        self.assertEqual(await self.phone.sync_progress, {"SYNCED": 1})

    async def test_wanted_but_deleted_before_it_came(self) -> None:
        await put(self.laptop, "a")
        await self.phone.refresh_sync_status_from_server()
        await self.laptop.delete("a")
        await self.phone.sync()
        self.assertEqual(await self.phone.sync_progress, {})

    async def test_a_conflict(self) -> None:
        await self.stop_server()
        with self.assertRaises(RetriableTransferError):
            await self.phone.put(doc(b"phone's", "x"), 7)
        await self.start_server()
        await put(self.laptop, "x")
        with self.assertRaises(BlobAlreadyExistsError):
            await self.phone.sync()
        self.assertIs(await status_of(self.phone, "x"), SyncStatus.FAILED_UPLOAD)
        self.assertEqual((await self.phone.get("x")).read(), b"phone's")
        # It is left alone while the other one is there, and sent when that one is gone.
        await self.phone.sync()
        self.assertIs(await status_of(self.phone, "x"), SyncStatus.FAILED_UPLOAD)
        await self.laptop.delete("x")
        await self.phone.sync()
        await self.laptop.sync()
        self.assertEqual((await self.laptop.get("x")).read(), b"phone's")

    async def test_one_corrupted_among_a_thousand(self) -> None:
        await put(self.laptop, *(f"blob-{number:04}" for number in range(1000)))
        self.corrupt("blob-0500")
        with self.assertRaises(MaximumRetriesError) as caught:
            await self.phone.sync()
        self.assertIn("blob-0500", str(caught.exception))
        self.assertEqual(await self.phone.sync_progress, {"SYNCED": 999, "FAILED_DOWNLOAD": 1})
        self.assertEqual(
            await self.phone.local_list_status(SyncStatus.FAILED_DOWNLOAD), ["blob-0500"]
        )

    async def test_retries_are_limited_live(self) -> None:
        await put(self.laptop, "x")
        self.corrupt("x")
        self.phone.max_decrypt_retries = 5
        with self.assertRaises(MaximumRetriesError):
            await self.phone.get("x")
        assert self.phone.local is not None
        self.assertEqual(
            await self.phone.local.get_sync_status("x"), (SyncStatus.FAILED_DOWNLOAD, 5)
        )

    async def test_unauthorized_ends_the_run(self) -> None:
        await put(self.laptop, *"abcdefgh")
        await self.phone.refresh_sync_status_from_server()
        await self.phone.close()
        stranger = self.manager("phone", token="stolen")
        with self.assertRaises(UnauthorizedError):
            await stranger.fetch_missing()
        self.assertEqual(await stranger.sync_progress, {"PENDING_DOWNLOAD": 8})

    async def test_two_syncs_at_once(self) -> None:
        await put(self.laptop, *"abcdef")
        await put(self.laptop, *"abcdef", namespace="mail")
        await gatherResults([self.phone.sync(), self.phone.sync(), self.phone.sync("mail")])
        self.assertEqual(await self.phone.sync_progress, {"SYNCED": 12})

    async def test_puts_gets_and_syncs_at_once(self) -> None:
        await put(self.laptop, *(f"old-{number}" for number in range(20)))
        working: list[Deferred[Any]] = [
            self.phone.sync(),
            *(self.phone.put(doc(b"x", f"new-{number}"), 1) for number in range(20)),
            *(self.phone.get(f"old-{number}") for number in range(20)),
            self.phone.sync(),
        ]
        await gatherResults(working)
        self.assertEqual(await self.phone.sync_progress, {"SYNCED": 40})
        self.assertEqual(await self.phone.count(), {"count": 40})

    async def test_deleting_what_is_being_fetched(self) -> None:
        size = 5 * MB
        await self.laptop.put(doc(content(size), "x"), size)
        await self.phone.refresh_sync_status_from_server()
        fetching, deleting = self.phone.fetch_missing(), self.phone.delete("x")
        await deleting
        await fetching
        self.assertEqual((await self.phone.remote_list(), await self.phone.sync_progress), ([], {}))

    def slow(self, name: str, **options: Any) -> BlobManager:
        """Make a manager that transfers 5 kB, and then no more: time stands still."""
        return self.manager(name, reactor=ReactorWithClock(), limit_rate=20_000, **options)

    async def test_deleting_what_is_being_put(self) -> None:
        size = 1 * MB
        observer = Observer()
        laptop = self.slow("other", observer=observer)
        putting = laptop.put(doc(content(size), "x"), size)
        while not observer.heard:
            self.assertNoResult(putting)
            await self.laptop.count()
        await laptop.delete("x")
        with self.assertRaises(BlobNotFoundError):
            await putting
        self.assertEqual((await laptop.remote_list(), await laptop.sync_progress), ([], {}))

    async def test_cancelled(self) -> None:
        await put(self.laptop, *(f"{number}" for number in range(50)))
        phone = self.slow("slow")
        syncing = phone.sync()
        while not await phone.local_list():
            self.assertNoResult(syncing)
        syncing.cancel()
        with self.assertRaises(CancelledError):
            await syncing
        progress = await phone.sync_progress
        self.assertEqual(sum(progress.values()), 50)
        self.assertLessEqual(set(progress), {"SYNCED", "PENDING_DOWNLOAD"})
        phone.limit_rate = None
        await phone.sync()
        self.assertEqual(await phone.sync_progress, {"SYNCED": 50})

    async def test_two_managers_on_one_store(self) -> None:
        await put(self.laptop, *(f"{number}" for number in range(100)))
        beside = self.manager("phone")
        await gatherResults([self.phone.sync(), beside.sync()])
        await gatherResults(
            [
                manager.put(doc(b"x", f"{name}-{number}"), 1)
                for name, manager in (("one", self.phone), ("two", beside))
                for number in range(50)
            ]
        )
        for manager in (self.phone, beside):
            self.assertEqual(await manager.sync_progress, {"SYNCED": 200})


class UsedAgainTests(ServerTestCase):
    """Ids that are deleted and used again, with and without backups."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.observer = Observer()
        self.laptop = self.manager("laptop", observer=self.observer)
        self.phone = self.manager("phone")

    async def replace(self, manager: BlobManager, data: bytes, blob_id: str = "x") -> None:
        await manager.delete(blob_id)
        await manager.put(doc(data, blob_id), len(data))

    async def read(self, manager: BlobManager, blob_id: str = "x") -> bytes:
        return (await manager.get(blob_id)).read()

    async def both_have(self, data: bytes, blob_id: str = "x") -> None:
        await self.laptop.put(doc(data, blob_id), len(data))
        await self.phone.sync()

    async def back_up_server(self) -> None:
        await self.stop_server()
        shutil.copytree(self.data, self.data + ".backup", symlinks=True)
        await self.start_server()

    async def restore_server(self) -> None:
        await self.stop_server()
        shutil.rmtree(self.data)
        os.rename(self.data + ".backup", self.data)
        await self.start_server()

    async def test_by_another_machine(self) -> None:
        for number, (old, new) in enumerate(
            [(b"old", b"new"), (content(3 * MB), b""), (b"", content(3 * MB, "new"))]
        ):
            blob_id = f"x{number}"
            await self.both_have(old, blob_id)
            await self.replace(self.phone, new, blob_id)
            await self.laptop.sync()
            self.assertTrue(await self.read(self.laptop, blob_id) == new, blob_id)
        self.assertEqual(await self.laptop.sync_progress, {"SYNCED": 3})

    async def test_the_same_is_not_fetched(self) -> None:
        await self.both_have(b"old")
        await self.replace(self.laptop, b"new")
        self.observer.heard.clear()
        await self.laptop.sync()
        self.assertEqual(self.observer.heard, [])
        self.assertEqual(await self.read(self.laptop), b"new")

    async def test_the_old_one_stays_until_the_new_one_verifies(self) -> None:
        await self.both_have(b"old")
        await self.replace(self.phone, content(100))
        self.change_on_server("x", 800)
        with self.assertRaises(MaximumRetriesError):
            await self.laptop.sync()
        self.assertEqual(await self.read(self.laptop), b"old")
        self.change_on_server("x", 800)
        await self.laptop.sync()
        self.assertEqual(await self.read(self.laptop), content(100))

    async def test_deleted_while_the_new_one_comes(self) -> None:
        await self.both_have(b"old")
        await self.replace(self.phone, content(5 * MB))
        syncing = self.laptop.sync()
        while not any(it.direction == "download" for it in self.observer.heard):
            self.assertNoResult(syncing)
            await self.laptop.count()
        await self.laptop.delete("x")
        await syncing
        self.assertEqual(
            (await self.laptop.remote_list(), await self.laptop.sync_progress), ([], {})
        )

    async def test_a_server_from_a_backup(self) -> None:
        await self.both_have(b"first")
        await self.laptop.delete("x")
        await self.back_up_server()
        await self.laptop.put(doc(b"second", "x"), 6)
        await self.restore_server()
        for manager in (self.laptop, self.phone, self.laptop):
            await manager.sync()
        self.assertEqual(await self.read(self.laptop), b"second")

    async def test_a_server_from_a_backup_after_a_sync(self) -> None:
        await self.both_have(b"first")
        await self.phone.delete("x")
        await self.laptop.sync()
        await self.back_up_server()
        await self.phone.put(doc(b"second", "x"), 6)
        await self.laptop.sync()
        await self.restore_server()
        for manager in (self.laptop, self.phone, self.laptop):
            await manager.sync()
        for manager in (self.laptop, self.phone):
            self.assertEqual(await self.read(manager), b"second")

    async def test_a_deletion_behind_the_answer_is_applied(self) -> None:
        await self.both_have(b"data")
        remote: Any = engine_of(self.laptop).server
        ask = remote.changes

        async def delayed(*arguments: Any) -> Any:
            answer = await ask(*arguments)
            await self.phone.delete("x")
            return answer

        self.patch(remote, "changes", delayed)
        await self.laptop.sync()
        self.patch(remote, "changes", ask)
        await self.laptop.sync()
        self.assertEqual(await self.laptop.local_list(), [])

    async def restored_store(self) -> BlobManager:
        """
        Go back to a disk of earlier, when x and y were to be deleted.

        x has been used again since by another machine.
        """
        await self.both_have(b"old")
        await self.both_have(b"unchanged", "y")
        await self.stop_server()
        for blob_id in "xy":
            with self.assertRaises(RetriableTransferError):
                await self.laptop.delete(blob_id)
        await self.laptop.close()
        store = os.path.join(self.folder, "laptop")
        shutil.copytree(store, store + ".backup")
        await self.start_server()
        await self.replace(self.phone, b"new")
        shutil.rmtree(store)
        os.rename(store + ".backup", store)
        restored = self.manager("laptop")
        self.assertEqual(await restored.sync_progress, {"PENDING_DELETE": 2})
        return restored

    async def test_a_store_from_a_backup(self) -> None:
        restored = await self.restored_store()
        await restored.sync()
        self.assertEqual(await restored.sync_progress, {"SYNCED": 1})
        self.assertEqual(await self.read(restored), b"new")
        self.assertEqual(await restored.remote_list(), ["x"])

    async def test_a_deletion_that_is_refused_holds_up_no_other(self) -> None:
        restored = await self.restored_store()
        honest = BlobsClient.delete

        def refusing(client: BlobsClient, blob_id: str, namespace: str = "") -> Deferred[None]:
            if blob_id == "y":
                return fail(ServerError("no", 400))
            return honest(client, blob_id, namespace)

        self.patch(BlobsClient, "delete", refusing)
        with self.assertRaises(ServerError):
            await restored.sync()
        self.assertEqual(await restored.sync_progress, {"SYNCED": 1, "PENDING_DELETE": 1})
        self.assertEqual(await self.read(restored), b"new")


class UsedAgainInStreamsTests(UsedAgainTests):
    streams = True


class UsedAgainAtAnOldServerTests(UsedAgainTests):
    is_old = True


class WaitingTests(ServerTestCase):
    """A blob that waits for its retry is in nobody's way."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.reactor = ReactorWithClock()
        self.observer = Observer()
        self.laptop = self.manager(
            "laptop", reactor=self.reactor, jitter=lambda it: it, observer=self.observer
        )
        self.phone = self.manager("phone")
        self.attempts: dict[str, int] = {}

    def refuse(self, method: str, blob_id: str) -> None:
        """Have the server say that it can't at the moment, whenever it is asked this."""
        honest = getattr(BlobsClient, method)

        def refusing(client: BlobsClient, name: str, *arguments: Any) -> Deferred[Any]:
            if name != blob_id:
                answer: Deferred[Any] = honest(client, name, *arguments)
                return answer
            self.attempts[method] = self.attempts.get(method, 0) + 1
            return fail(RetriableTransferError("the server can't at the moment (503)"))

        self.patch(BlobsClient, method, refusing)

    async def until_here(self, *blob_ids: str) -> None:
        """Wait for downloads to have ended: what is only recorded can still be undone."""
        while not set(blob_ids) <= {it.blob_id for it in self.observer.heard if it.state == "done"}:
            await self.laptop.sync_progress

    async def test_uploads_and_downloads_and_deletions(self) -> None:
        await put(self.phone, "down", "gone")
        await self.laptop.sync()
        await put(self.phone, "new", "stuck")
        for method, blob_id in (("upload", "up"), ("download", "stuck"), ("delete", "gone")):
            self.refuse(method, blob_id)
        for failing in (self.laptop.put(doc(b"up", "up"), 2), self.laptop.delete("gone")):
            with self.assertRaises(RetriableTransferError):
                await failing
        syncing = [self.laptop.sync()]
        await self.until_here("down", "new")
        # Another one compares and transfers meanwhile.
        await put(self.phone, "later")
        syncing.append(self.laptop.sync())
        await self.until_here("later")
        for one in syncing:
            self.assertNoResult(one)
            one.cancel()
            with self.assertRaises(CancelledError):
                await one
        self.assertEqual(
            await self.laptop.sync_progress,
            {"SYNCED": 3, "PENDING_UPLOAD": 1, "PENDING_DOWNLOAD": 1, "PENDING_DELETE": 1},
        )

    async def test_it_ends(self) -> None:
        await put(self.phone, "stuck", "good")
        self.refuse("download", "stuck")
        syncing = self.laptop.sync()
        await self.until_here("good")
        for number, delay in enumerate((1, 11, 21, 31, 41, 51, 60, 60, 60), 1):
            while self.attempts["download"] < number:
                self.assertNoResult(syncing)
                await self.laptop.sync_progress
            self.reactor.clock.advance(delay)
        with self.assertRaises(RetriableTransferError):
            await syncing
        self.assertEqual(self.attempts, {"download": 10})
        assert self.laptop.local is not None
        self.assertEqual(
            await self.laptop.local.get_sync_status("stuck"), (SyncStatus.PENDING_DOWNLOAD, 0)
        )


class FullDiskTests(ServerTestCase):
    async def test_the_rest_is_not_downloaded_for_nothing(self) -> None:
        laptop, phone = self.manager("laptop"), self.manager("phone")
        await put(laptop, *(f"{number:02}" for number in range(40)), size=100_000)
        await phone.refresh_sync_status_from_server()
        store: Any = phone.local
        await store._database.write(
            lambda connection: connection.execute("PRAGMA max_page_count=30").fetchall()
        )
        begun: list[str] = []
        download = BlobsClient.download

        def noted(client: BlobsClient, blob_id: str, *arguments: Any) -> Deferred[None]:
            begun.append(blob_id)
            return download(client, blob_id, *arguments)

        self.patch(BlobsClient, "download", noted)
        with self.assertRaises(StoreFullError):
            await phone.fetch_missing()
        self.assertLess(len(begun), 12)
        progress = await phone.sync_progress
        self.assertEqual(set(progress), {"SYNCED", "PENDING_DOWNLOAD"})
        self.assertEqual(sum(progress.values()), 40)


class SyncInStreamsTests(SyncTests):
    streams = True


class SyncAtAnOldServerTests(SyncTests):
    is_old = True


@implementer(ITransferObserver)
class Observer:
    """Remembers what it was told."""

    def __init__(self, broken: bool = False) -> None:
        self.heard: list[TransferProgress] = []
        self.broken = broken

    def transfer_changed(self, transfer: TransferProgress) -> None:
        self.heard.append(transfer)
        if self.broken:
            raise RuntimeError("the observer's own mistake")


class ObserverTests(ServerTestCase):
    async def test_up_and_down(self) -> None:
        size = 3 * MB
        up, down = Observer(), Observer()
        await self.manager("laptop", observer=up).put(doc(content(size), "x"), size, "mail")
        await self.manager("phone", observer=down).sync("mail")
        for observer, direction in ((up, "upload"), (down, "download")):
            states = [it.state for it in observer.heard]
            self.assertEqual((states[0], states[-1]), ("running", "done"))
            self.assertEqual(set(states), {"running", "done"})
            self.assertEqual({it[:3] for it in observer.heard}, {("x", "mail", direction)})
            done = [it.done for it in observer.heard]
            self.assertEqual(done, sorted(done))
            self.assertEqual(observer.heard[-1][3:5], (size + 753, size + 753))

    async def test_failure(self) -> None:
        observer = Observer()
        phone = self.manager("phone", observer=observer)
        with self.assertRaises(BlobNotFoundError):
            await phone.get("x")
        self.assertEqual([it.state for it in observer.heard], ["running", "failed"])

    async def test_a_broken_observer_does_no_harm(self) -> None:
        laptop = self.manager("laptop", observer=Observer(broken=True))
        await laptop.put(doc(b"data", "x"), 4)
        self.assertEqual(await laptop.sync_progress, {"SYNCED": 1})
        self.assertTrue(self.flushLoggedErrors(RuntimeError))


@implementer(ITransferObserver)
class Canceller:
    """Cancels a transfer as soon as it is told of some bytes."""

    def __init__(self, bytes_done: int) -> None:
        self.bytes_done = bytes_done
        self.transfer: Deferred[Any] = Deferred()

    def transfer_changed(self, transfer: TransferProgress) -> None:
        if transfer.done >= self.bytes_done and not self.transfer.called:
            self.transfer.cancel()


class CancelledByObserverTests(ServerTestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.patch(progress, "INTERVAL", 0.0)

    async def test_at_any_time(self) -> None:
        size = 3 * MB
        await put(self.manager("laptop"), "there", size=size)
        for bytes_done in (0, 1, 1000, MB, size, size + 753):
            for getting in (False, True):
                canceller = Canceller(bytes_done)
                name = f"{bytes_done}-{getting}"
                manager = self.manager(name, observer=canceller)
                if getting:
                    transfer: Deferred[Any] = manager.get("there")
                else:
                    transfer = manager.put(doc(content(size, name), name), size)
                canceller.transfer = transfer
                with self.assertRaises(CancelledError):
                    await transfer
                await manager.sync()
                blob = await manager.get("there" if getting else name)
                self.assertEqual(blob.size, size)
                await manager.close()
                # What fails and is waited for by nobody is told of now, and not in another test.
                gc.collect()

    async def test_as_it_begins(self) -> None:
        """Nothing goes on behind its back, though a connection is there and content is ready."""
        for bytes_done in (0, 1):
            canceller = Canceller(bytes_done)
            manager = self.manager(f"{bytes_done}", observer=canceller)
            await manager.count()
            canceller.transfer = manager.put(doc(content(3 * MB), f"{bytes_done}"), 3 * MB)
            with self.assertRaises(CancelledError):
                await canceller.transfer
            self.assertEqual(await manager.sync_progress, {"PENDING_UPLOAD": 1})
            self.assertEqual(await manager.remote_list(), [])
