"""A manager against a real server: each operation, and each error that the specification names."""

from __future__ import annotations

import base64
import io
import os
import threading
import uuid
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList, gatherResults
from twisted.internet.error import ConnectionRefusedError
from twisted.trial.unittest import SynchronousTestCase

from blobman import (
    BlobAlreadyExistsError,
    BlobDoc,
    BlobError,
    BlobManager,
    BlobNotFoundError,
    CertificateError,
    ClosedError,
    DeletedMeanwhile,
    Flags,
    InvalidBlob,
    InvalidFlagsError,
    MaximumRetriesError,
    NotConfiguredError,
    Priority,
    RetriableTransferError,
    SyncStatus,
    UnauthorizedError,
    UnreadableContentError,
    WrongKeyError,
    WrongSizeError,
)
from blobman.crypto import Method, Preamble, Scheme
from blobman.limits import LIMITS
from blobman.model import BlobKey
from blobman.remote import BlobsClient
from blobman.transfers.permits import Permits
from blobman.transfers.queue import Entry

from .certificates import Authority
from .crypto.vectors import EXTERNAL_ID, EXTERNAL_STORED, LEGACY, sealed_bytes
from .crypto.vectors import SECRET as VECTOR_SECRET
from .support import KEY, MB, SECRET, USER, ServerTestCase, authority, content, doc, engine_of


async def status_of(manager: BlobManager, blob_id: str, namespace: str = "") -> SyncStatus | None:
    assert manager.local is not None
    record = await manager.local.get_sync_status(blob_id, namespace)
    return None if record is None else record[0]


class Unreadable(io.BytesIO):
    """A file whose disk is broken."""

    def read(self, *_: Any) -> bytes:
        raise OSError(5, "Input/output error")

    readinto = read  # type: ignore[assignment]


class Slow(io.BytesIO):
    """A file on a disk that takes its time."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.is_being_read = threading.Event()
        self.may_go_on = threading.Event()

    def read(self, size: int | None = -1, /) -> bytes:
        self.is_being_read.set()
        self.may_go_on.wait(60)
        data = super().read(size)
        self.is_being_read.clear()
        return data

    def readinto(self, buffer: Any, /) -> int:
        self.is_being_read.set()
        self.may_go_on.wait(60)
        size = super().readinto(buffer)
        self.is_being_read.clear()
        return size


class RoundTripTests(ServerTestCase):
    async def test_there_and_back(self) -> None:
        laptop, phone = self.manager("laptop"), self.manager("phone")
        for size in (0, 1, 4095, 4096, 65536, MB, 5 * MB + 1):
            data, blob_id = content(size), f"size-{size}"
            await laptop.put(doc(data, blob_id), size)
            found = await phone.get(blob_id)
            self.assertEqual(found.tell(), 0)
            self.assertEqual(found.read(), data)
            self.assertEqual(found.getvalue(), data)
            for manager in (laptop, phone):
                self.assertIs(await status_of(manager, blob_id), SyncStatus.SYNCED)

    async def test_one_id_in_two_namespaces(self) -> None:
        laptop, phone = self.manager("laptop"), self.manager("phone")
        await laptop.put(doc(b"letter", "x"), 6, namespace="mail")
        await laptop.put(doc(b"photo", "x"), 5)
        await laptop.put(doc(b"secret", "x"), 6, namespace="mine", local_only=True)
        self.assertEqual((await phone.get("x", "mail")).read(), b"letter")
        self.assertEqual((await phone.get("x")).read(), b"photo")
        with self.assertRaises(BlobNotFoundError):
            await phone.get("x", "mine")
        await laptop.delete("x")
        self.assertEqual(await laptop.local_list("mail"), ["x"])
        self.assertEqual(await laptop.local_list("mine"), ["x"])
        self.assertEqual(await laptop.remote_list("mail"), ["x"])

    async def test_the_default_namespace_has_one_name(self) -> None:
        laptop = self.manager()
        await laptop.put(doc(b"data", "x"), 4)
        for failing in (
            laptop.put(doc(b"data", "y"), 4, "default"),
            laptop.get("x", "default"),
            laptop.delete("x", "default"),
            laptop.verify("x", "default"),
            laptop.local_list("default"),
            laptop.local_list_status(SyncStatus.SYNCED, "default"),
            laptop.remote_list("default"),
            laptop.remote_list("default", only_count=True),
            laptop.count("default"),
            laptop.get_flags("x", "default"),
            laptop.set_flags("x", ["PENDING"], "default"),
            laptop.sync("default"),
            laptop.send_missing("default"),
            laptop.fetch_missing("default"),
            laptop.refresh_sync_status_from_server("default"),
        ):
            with self.assertRaises(ValueError) as caught:
                await failing
            self.assertIn("its name here is ''", str(caught.exception))
        self.assertEqual(await laptop.remote_list(), ["x"])
        self.assertEqual(await laptop.sync_progress, {"SYNCED": 1})

    async def test_many_at_once(self) -> None:
        laptop, phone = self.manager("laptop"), self.manager("phone")
        blobs = {f"blob-{number:03}": content(number * 300, str(number)) for number in range(60)}
        await gatherResults([laptop.put(doc(data, i), len(data)) for i, data in blobs.items()])
        self.assertEqual(sorted(await phone.remote_list()), sorted(blobs))
        files = await gatherResults([phone.get(blob_id) for blob_id in blobs])
        self.assertEqual([file.read() for file in files], list(blobs.values()))
        self.assertEqual(await phone.sync_progress, {"SYNCED": 60})

    async def test_get_finds_the_local_copy_without_the_server(self) -> None:
        laptop = self.manager()
        await laptop.put(doc(b"here", "x"), 4)
        await self.stop_server()
        self.assertEqual((await laptop.get("x")).read(), b"here")

    async def test_generated_id(self) -> None:
        made = doc(b"x")
        self.assertEqual(uuid.UUID(hex=made.blob_id).version, 4)
        laptop = self.manager()
        await laptop.put(made, 1)
        self.assertEqual(await laptop.local_list(), [made.blob_id])

    async def test_file_not_at_its_start(self) -> None:
        laptop, made = self.manager(), doc(b"whole", "x")
        made.blob_fd.seek(3)
        await laptop.put(made, 5)
        self.assertEqual((await laptop.get("x")).read(), b"whole")

    async def test_calls_for_one_blob_share_a_download(self) -> None:
        laptop, phone = self.manager("laptop"), self.manager("phone")
        data = content(3 * MB)
        await laptop.put(doc(data, "x"), len(data))
        first, second = phone.get("x"), phone.get("x", priority="urgent")
        first.cancel()
        with self.assertRaises(CancelledError):
            await first
        self.assertEqual((await second).read(), data)

    async def test_nothing_readable_on_the_server(self) -> None:
        laptop = self.manager()
        data = b"nothing to see here" * 1000
        await laptop.put(doc(data, "x"), len(data))
        stored = self.on_server("x")
        assert stored is not None
        self.assertEqual(len(stored), len(data) + 753)
        self.assertNotIn(b"to see", stored)
        with open(os.path.join(self.folder, "laptop", f"{USER}_blobs.db"), "rb") as file:
            self.assertNotIn(b"to see", file.read())

    async def test_files_are_private(self) -> None:
        laptop = self.manager(os.path.join("made", "as", "needed"))
        await laptop.put(doc(b"x", "x"), 1, local_only=True)
        folder = os.path.join(self.folder, "made", "as", "needed")
        database = os.path.join(folder, f"{USER}_blobs.db")
        self.assertEqual(os.stat(folder).st_mode & 0o777, 0o700)
        self.assertEqual(os.stat(database).st_mode & 0o777, 0o600)


class RoundTripOverTLSTests(RoundTripTests):
    tls = True


class RoundTripInStreamsTests(RoundTripTests):
    streams = True


class PutTests(ServerTestCase):
    async def test_local_only_is_never_sent(self) -> None:
        laptop = self.manager()
        await laptop.put(doc(b"mine", "x"), 4, local_only=True)
        await laptop.sync()
        self.assertEqual(await laptop.remote_list(), [])
        self.assertIs(await status_of(laptop, "x"), SyncStatus.LOCAL_ONLY)
        self.assertEqual((await laptop.get("x")).read(), b"mine")

    async def test_duplicate_here(self) -> None:
        laptop = self.manager()
        await laptop.put(doc(b"first", "x"), 5)
        with self.assertRaises(BlobAlreadyExistsError) as caught:
            await laptop.put(doc(b"second", "x"), 6)
        self.assertIn("'x'", str(caught.exception))
        self.assertEqual((await laptop.get("x")).read(), b"first")
        self.assertIs(await status_of(laptop, "x"), SyncStatus.SYNCED)

    async def test_duplicate_there(self) -> None:
        laptop, phone = self.manager("laptop"), self.manager("phone")
        await laptop.put(doc(b"first", "x"), 5)
        with self.assertRaises(BlobAlreadyExistsError):
            await phone.put(doc(b"other", "x"), 5)
        self.assertIs(await status_of(phone, "x"), SyncStatus.FAILED_UPLOAD)
        self.assertEqual((await phone.get("x")).read(), b"other")

    async def test_stored_without_a_preamble(self) -> None:
        """As a program does that puts into the store by itself."""
        laptop, phone = self.manager("laptop"), self.manager("phone")
        assert laptop.local is not None
        small, large = content(1000), content(2 * MB)
        await laptop.local.put("small", io.BytesIO(small), len(small))
        await laptop.local.put("large", io.BytesIO(large), len(large))
        with self.assertRaises(BlobNotFoundError):
            await laptop.verify("small")
        await laptop.sync()
        self.assertEqual(await laptop.sync_progress, {"SYNCED": 2})
        self.assertEqual((await phone.get("small")).read(), small)
        self.assertEqual((await phone.get("large")).read(), large)

    async def test_stored_without_a_preamble_and_sealed_once(self) -> None:
        laptop = self.manager()
        assert laptop.local is not None
        await laptop.local.put("x", io.BytesIO(b"data"), 4)
        await self.stop_server()
        preambles = set()
        for _ in range(2):
            sending = engine_of(laptop).upload(BlobKey("", "x"), Priority.DEFAULT)
            await self.assertFailure(sending, RetriableTransferError)
            payload = await laptop.local.open_payload("x")
            assert payload is not None
            preambles.add(payload.preamble)
        self.assertEqual(len(preambles), 1)
        self.assertEqual(Preamble.decode(preambles.pop()).blob_id, "x")

    async def test_stored_without_a_preamble_when_the_id_is_taken(self) -> None:
        laptop, phone = self.manager("laptop"), self.manager("phone")
        assert laptop.local is not None
        await phone.put(doc(b"theirs", "x"), 6)
        await laptop.local.put("x", io.BytesIO(b"mine"), 4)
        self.assertFalse(await laptop.verify("x"))
        with self.assertRaises(BlobAlreadyExistsError):
            await laptop.sync()
        self.assertIs(await status_of(laptop, "x"), SyncStatus.FAILED_UPLOAD)

    async def test_an_earlier_attempt_got_through(self) -> None:
        laptop = self.manager()
        await laptop.put(doc(b"data", "x"), 4)
        assert laptop.local is not None
        await laptop.local.apply_remote_list(set())
        self.assertIs(await status_of(laptop, "x"), SyncStatus.PENDING_UPLOAD)
        await laptop.send_missing()
        self.assertIs(await status_of(laptop, "x"), SyncStatus.SYNCED)

    async def test_wrong_size(self) -> None:
        laptop = self.manager()
        for data, size in [(b"short", 6), (b"long", 3), (b"", 1), (b"x", 0)]:
            with self.assertRaises(WrongSizeError) as caught:
                await laptop.put(doc(data, "x"), size)
            self.assertIsInstance(caught.exception, ValueError)
        big = content(3 * MB)
        for size in (len(big) - 1, len(big) + 1):
            with self.assertRaises(WrongSizeError):
                await laptop.put(doc(big, "x"), size)
        self.assertEqual((await laptop.local_list(), await laptop.remote_list()), ([], []))
        self.assertIsNone(await status_of(laptop, "x"))

    async def test_unreadable_file(self) -> None:
        laptop = self.manager()
        with self.assertRaises(UnreadableContentError) as caught:
            await laptop.put(BlobDoc(Unreadable(), "x"), 10)
        self.assertIsInstance(caught.exception.__cause__, OSError)
        self.assertEqual((await laptop.local_list(), await laptop.remote_list()), ([], []))

    async def test_server_is_down(self) -> None:
        laptop = self.manager()
        await self.stop_server()
        with self.assertRaises(RetriableTransferError) as caught:
            await laptop.put(doc(b"data", "x"), 4)
        self.assertNotIsInstance(caught.exception, BlobNotFoundError)
        self.assertIsInstance(caught.exception.__cause__, ConnectionRefusedError)
        self.assertIn("'x'", str(caught.exception))
        self.assertIs(await status_of(laptop, "x"), SyncStatus.PENDING_UPLOAD)
        await self.start_server()
        await laptop.sync()
        self.assertEqual(await laptop.remote_list(), ["x"])

    async def test_cancelled(self) -> None:
        laptop = self.manager()
        putting = laptop.put(doc(content(20 * MB), "x"), 20 * MB)
        putting.cancel()
        with self.assertRaises(CancelledError):
            await putting
        self.assertIsNone(await status_of(laptop, "x"))
        self.assertEqual(await laptop.remote_list(), [])


class SlowlyReadTests(ServerTestCase):
    async def test_a_cancelled_put_reads_no_more_when_it_fires(self) -> None:
        for size in (1000, 5 * MB):
            laptop, file = self.manager(), Slow(content(size))
            putting = laptop.put(BlobDoc(file, "x"), size)
            while not file.is_being_read.is_set():
                self.assertNoResult(putting)
                await laptop.sync_progress
            putting.cancel()
            await laptop.sync_progress
            self.assertNoResult(putting)
            file.may_go_on.set()
            with self.assertRaises(CancelledError):
                await putting
            self.assertFalse(file.is_being_read.is_set())
            file.close()
            self.assertEqual(await laptop.sync_progress, {})


class AtOnceTests(ServerTestCase):
    """Operations on one blob that meet each other."""

    async def test_put_and_get(self) -> None:
        laptop = self.manager()
        for number in range(20):
            blob_id = f"x{number}"
            both: list[Deferred[Any]] = [
                laptop.get(blob_id),
                laptop.put(doc(b"data", blob_id), 4),
            ]
            results = await DeferredList(both, consumeErrors=True)
            for succeeded, result in results:
                if not succeeded:
                    kinds = (BlobNotFoundError, BlobAlreadyExistsError)
                    self.assertIsInstance(result.value, kinds)
            there = await laptop.remote_list()
            self.assertEqual(results[1][0], blob_id in there)

    async def test_get_and_delete(self) -> None:
        other, laptop = self.manager("other"), self.manager()
        for number in range(20):
            blob_id = f"x{number}"
            await other.put(doc(content(300_000), blob_id), 300_000)
            both: list[Deferred[Any]] = [laptop.get(blob_id), laptop.delete(blob_id)]
            await DeferredList(both, consumeErrors=True)
            self.assertEqual(await laptop.sync_progress, {})
            self.assertEqual(await laptop.remote_list(), [])

    async def test_put_and_delete(self) -> None:
        laptop = self.manager()
        for number in range(20):
            blob_id = f"x{number}"
            putting = laptop.put(doc(content(300_000), blob_id), 300_000)
            while not await laptop.local_list():
                self.assertNoResult(putting)
            await laptop.delete(blob_id)
            await DeferredList([putting], consumeErrors=True)
            self.assertEqual(await laptop.sync_progress, {})
            self.assertEqual(await laptop.remote_list(), [])

    async def test_delete_of_what_waits_for_its_upload(self) -> None:
        laptop = self.manager()
        laptop.concurrent_transfers_limit = 1
        permits = engine_of(laptop).permits
        self.assertTrue(permits.take())
        putting = [laptop.put(doc(content(300_000), name), 300_000) for name in "abc"]
        while len(await laptop.local_list()) < len(putting):
            for one in putting:
                self.assertNoResult(one)
        # They are stored, and are told so before another write is.
        assert laptop.local is not None
        await laptop.local.forget("another")
        await laptop.delete("c")
        await self.assertFailure(putting.pop(), BlobNotFoundError)
        permits.release()
        await gatherResults(putting)
        self.assertEqual(await laptop.sync_progress, {"SYNCED": 2})
        self.assertEqual(sorted(await laptop.remote_list()), ["a", "b"])

    async def test_success_is_synced(self) -> None:
        """The other manager of a store meets the refusal, while this one still waits."""
        laptop, beside = self.manager(), self.manager()
        laptop.concurrent_transfers_limit = 1
        permits = engine_of(laptop).permits
        self.assertTrue(permits.take())
        putting = laptop.put(doc(b"ours", "x"), 4)
        while not await beside.local_list():
            self.assertNoResult(putting)
        await self.manager("other").put(doc(b"theirs", "x"), 6)
        with self.assertRaises(BlobAlreadyExistsError):
            await beside.sync()
        permits.release()
        with self.assertRaises(BlobAlreadyExistsError):
            await putting
        self.assertIs(await status_of(laptop, "x"), SyncStatus.FAILED_UPLOAD)

    async def test_deleted_by_another_manager(self) -> None:
        laptop, beside = self.manager(), self.manager()
        laptop.concurrent_transfers_limit = 1
        permits = engine_of(laptop).permits
        self.assertTrue(permits.take())
        putting = laptop.put(doc(b"ours", "x"), 4)
        while not await beside.local_list():
            self.assertNoResult(putting)
        await beside.delete("x")
        permits.release()
        with self.assertRaises(DeletedMeanwhile):
            await putting
        self.assertEqual((await laptop.remote_list(), await laptop.sync_progress), ([], {}))

    async def test_deleted_by_another_manager_before_the_server_has_all_of_it(self) -> None:
        for stream, name in ((None, "upload"), (self.url_at(self.port, "stream"), "upload_many")):
            laptop, beside = self.manager(remote_stream=stream), self.manager()
            sender: Any = engine_of(laptop).server
            if stream is not None:
                sender = vars(engine_of(laptop))["_stream"]
            honest = getattr(sender, name)

            async def upload(*arguments: Any, honest: Any = honest, beside: Any = beside) -> Any:
                await beside.delete("x")
                return await honest(*arguments)

            self.patch(sender, name, upload)
            with self.assertRaises(DeletedMeanwhile):
                await laptop.put(doc(b"ours", "x"), 4)
            self.assertEqual((await laptop.remote_list(), await laptop.sync_progress), ([], {}))
            await laptop.sync()
            self.assertEqual(await laptop.local_list(), [])

    async def test_two_deletes(self) -> None:
        laptop = self.manager()
        await laptop.put(doc(b"data", "x"), 4)
        results = await DeferredList([laptop.delete("x"), laptop.delete("x")], consumeErrors=True)
        self.assertTrue(results[0][0])
        self.assertEqual(await laptop.sync_progress, {})

    async def test_cancelled_at_once(self) -> None:
        laptop = self.manager()
        await laptop.put(doc(b"data", "x"), 4)
        for operation in (laptop.count(), laptop.delete("x"), laptop.sync(), laptop.get("y")):
            operation.cancel()
            with self.assertRaises(CancelledError):
                await operation
        self.assertEqual(await laptop.sync_progress, {"SYNCED": 1})

    async def test_an_errback_that_closes(self) -> None:
        laptop = self.manager()
        getting = laptop.get("x")
        getting.addErrback(lambda _: laptop.close())
        await laptop.close()
        await getting

    async def test_a_limit_that_is_raised_counts_at_once(self) -> None:
        laptop = self.manager()
        laptop.concurrent_transfers_limit = 1
        engine = engine_of(laptop)

        def wait_in(permits: Permits) -> list[Deferred[None]]:
            return [permits.acquire(Entry(None, "", 2, number)) for number in range(3)]

        transferring = wait_in(engine.permits)
        laptop.concurrent_transfers_limit = 3
        self.assertTrue(all(granted.called for granted in transferring))
        laptop.concurrent_writes_limit = 1
        writing = wait_in(engine.writes)
        laptop.concurrent_writes_limit = 3
        self.assertTrue(all(granted.called for granted in writing))


class AtOnceInStreamsTests(AtOnceTests):
    streams = True


class PutInStreamsTests(PutTests):
    streams = True


class GetTests(ServerTestCase):
    async def test_missing(self) -> None:
        phone = self.manager()
        with self.assertRaises(BlobNotFoundError) as caught:
            await phone.get("nowhere", "mail")
        self.assertIsInstance(caught.exception, RetriableTransferError)
        self.assertIn("'nowhere' in namespace 'mail'", str(caught.exception))
        self.assertEqual(await phone.sync_progress, {})

    async def test_wrong_secret(self) -> None:
        await self.manager("laptop").put(doc(b"data", "x"), 4)
        phone = self.manager("phone", secret="t" * 96)
        with self.assertRaises(MaximumRetriesError) as caught:
            await phone.get("x")
        self.assertIsInstance(caught.exception.__cause__, InvalidBlob)
        assert phone.local is not None
        self.assertEqual(await phone.local.get_sync_status("x"), (SyncStatus.FAILED_DOWNLOAD, 3))
        self.assertEqual(await phone.local_list(), [])
        await phone.sync()
        self.assertIs(await status_of(phone, "x"), SyncStatus.FAILED_DOWNLOAD)

    async def test_a_later_get_starts_anew(self) -> None:
        await self.manager("laptop").put(doc(content(100), "x"), 100)
        self.change_on_server("x", 800)
        phone = self.manager("phone")
        with self.assertRaises(MaximumRetriesError):
            await phone.get("x")
        self.change_on_server("x", 800)
        self.assertEqual((await phone.get("x")).read(), content(100))
        assert phone.local is not None
        self.assertEqual(await phone.local.get_sync_status("x"), (SyncStatus.SYNCED, 0))

    async def test_external(self) -> None:
        armored = b"-----BEGIN PGP MESSAGE-----\n" + content(2 * MB)
        preamble = Preamble(Scheme.EXTERNAL, Method.PGP, 0, bytes(16), "mail", "0", len(armored))
        stored = base64.urlsafe_b64encode(preamble.encode()) + b" " + armored
        await self.put_on_server("mail", stored, "MX")
        phone = self.manager(external_namespaces=["MX"])
        found = await phone.get("mail", "MX")
        self.assertEqual(found.read(), armored)
        self.assertTrue(found.external)
        self.assertIs(await status_of(phone, "mail", "MX"), SyncStatus.SYNCED)

    async def test_what_the_server_lost_is_given_back(self) -> None:
        for blob_id, stored in [
            (EXTERNAL_ID, EXTERNAL_STORED),
            (LEGACY.blob_id, sealed_bytes(LEGACY)),
        ]:
            await self.put_on_server(blob_id, stored)
            phone = self.manager(secret=VECTOR_SECRET, external_namespaces=[""])
            await phone.get(blob_id)
            self.remove_from_server(blob_id)
            await phone.sync(full=True)
            self.assertEqual(self.on_server(blob_id), stored)

    async def test_server_is_down(self) -> None:
        phone = self.manager()
        await self.stop_server()
        with self.assertRaises(RetriableTransferError) as caught:
            await phone.get("x")
        self.assertNotIsInstance(caught.exception, BlobNotFoundError)

    async def test_cancelled(self) -> None:
        await self.manager("laptop").put(doc(content(20 * MB), "x"), 20 * MB)
        phone = self.manager("phone")
        getting = phone.get("x")
        getting.cancel()
        with self.assertRaises(CancelledError):
            await getting
        self.assertIsNone(await status_of(phone, "x"))
        self.assertEqual((await phone.get("x")).read(), content(20 * MB))


class GetInStreamsTests(GetTests):
    streams = True


class DeleteTests(ServerTestCase):
    async def test_both_copies(self) -> None:
        laptop = self.manager()
        await laptop.put(doc(b"data", "x"), 4)
        await laptop.delete("x")
        self.assertEqual((await laptop.local_list(), await laptop.remote_list()), ([], []))
        self.assertEqual(await laptop.remote_list(deleted=True), ["x"])
        self.assertEqual(await laptop.sync_progress, {})
        with self.assertRaises(BlobNotFoundError):
            await laptop.get("x")

    async def test_made_again(self) -> None:
        laptop = self.manager()
        await laptop.put(doc(b"old", "x"), 3)
        await laptop.delete("x")
        await laptop.put(doc(b"new", "x"), 3)
        await laptop.sync()
        self.assertEqual((await laptop.get("x")).read(), b"new")
        self.assertEqual((await self.manager("phone").get("x")).read(), b"new")

    async def test_local_only_needs_no_server(self) -> None:
        laptop = self.manager()
        await laptop.put(doc(b"mine", "x"), 4, local_only=True)
        await self.stop_server()
        await laptop.delete("x")
        self.assertEqual(await laptop.local_list(), [])

    async def test_missing_on_the_server(self) -> None:
        laptop, phone = self.manager("laptop"), self.manager("phone")
        await laptop.put(doc(b"data", "x"), 4)
        await phone.get("x")
        await phone.delete("x")
        await laptop.delete("x")
        self.assertEqual(await laptop.local_list(), [])

    async def test_only_on_the_server(self) -> None:
        await self.manager("laptop").put(doc(b"data", "x"), 4)
        phone = self.manager("phone")
        await phone.delete("x")
        self.assertEqual((await phone.remote_list(), await phone.sync_progress), ([], {}))

    async def test_nowhere(self) -> None:
        laptop = self.manager()
        with self.assertRaises(BlobNotFoundError):
            await laptop.delete("x")
        self.assertEqual(await laptop.sync_progress, {})

    async def test_server_is_down(self) -> None:
        laptop = self.manager()
        await laptop.put(doc(b"data", "x"), 4)
        await self.stop_server()
        with self.assertRaises(RetriableTransferError):
            await laptop.delete("x")
        self.assertIs(await status_of(laptop, "x"), SyncStatus.PENDING_DELETE)
        self.assertEqual(await laptop.local_list(), [])
        await self.start_server()
        with self.assertRaises(BlobNotFoundError):
            await laptop.get("x")
        with self.assertRaises(BlobAlreadyExistsError):
            await laptop.put(doc(b"new", "x"), 3)
        await laptop.sync()
        self.assertEqual((await laptop.remote_list(), await laptop.sync_progress), ([], {}))


class DeleteInStreamsTests(DeleteTests):
    streams = True


class ServerOnlyTests(ServerTestCase):
    async def test_flags(self) -> None:
        laptop = self.manager()
        await laptop.put(doc(b"data", "x"), 4)
        self.assertEqual(await laptop.get_flags("x"), [])
        await laptop.set_flags("x", [Flags.PENDING, "FAILED"])
        self.assertEqual(await laptop.get_flags("x"), ["PENDING", "FAILED"])
        self.assertEqual(await laptop.remote_list(filter_flag=Flags.FAILED), ["x"])
        self.assertEqual(await laptop.remote_list(filter_flag="PROCESSED"), [])
        await laptop.set_flags("x", [])
        self.assertEqual(await laptop.get_flags("x"), [])

    async def test_many_at_once(self) -> None:
        """More than the server serves one user at a time."""
        laptop = self.manager()
        await laptop.put(doc(b"data", "x"), 4)
        asking: list[Deferred[Any]] = []
        for _ in range(50):
            asking += [laptop.count(), laptop.remote_list(), laptop.get_flags("x")]
            asking += [laptop.set_flags("x", ["PENDING"]), laptop.verify("x")]
        await gatherResults(asking)

    async def test_wrong_flags(self) -> None:
        laptop = self.manager()
        await laptop.put(doc(b"data", "x"), 4)
        with self.assertRaises(InvalidFlagsError):
            await laptop.set_flags("x", ["PENDING", "SHINY"])
        self.assertEqual(await laptop.get_flags("x"), [])
        with self.assertRaises(TypeError):
            await laptop.set_flags("x", "PENDING")
        with self.assertRaises(InvalidFlagsError):
            await laptop.remote_list(filter_flag="SHINY")

    async def test_flags_of_a_missing_blob(self) -> None:
        laptop = self.manager()
        with self.assertRaises(BlobNotFoundError):
            await laptop.get_flags("x")
        with self.assertRaises(BlobNotFoundError):
            await laptop.set_flags("x", ["PENDING"])

    async def test_lists_and_counts(self) -> None:
        laptop = self.manager()
        for blob_id in ["c", "a", "b"]:
            await laptop.put(doc(b"data", blob_id), 4)
        await laptop.put(doc(b"data", "other"), 4, namespace="mail")
        self.assertEqual(await laptop.remote_list(order_by="date"), ["c", "a", "b"])
        self.assertEqual(await laptop.remote_list(order_by=""), await laptop.remote_list())
        self.assertEqual(await laptop.remote_list(order_by="+date"), ["c", "a", "b"])
        self.assertEqual(await laptop.remote_list(order_by="-date"), ["b", "a", "c"])
        self.assertEqual(await laptop.count(), {"count": 3})
        self.assertEqual(await laptop.count("mail"), {"count": 1})
        self.assertEqual(await laptop.remote_list("mail"), ["other"])
        self.assertEqual(await laptop.remote_list(only_count=True), {"count": 3})
        with self.assertRaises(ValueError):
            await laptop.remote_list(order_by="size")

    async def test_without_a_store(self) -> None:
        await self.manager("laptop").put(doc(b"data", "x"), 4)
        for nothing in (None, ""):
            viewer = self.manager(local_path=nothing, key=None)
            self.assertIsNone(viewer.local)
            self.assertEqual(await viewer.count(), {"count": 1})
            self.assertEqual(await viewer.remote_list(), ["x"])
            self.assertEqual(await viewer.get_flags("x"), [])
            for operation in (viewer.get, viewer.delete):
                with self.assertRaises(NotConfiguredError):
                    await operation("x")
            for failing in (viewer.local_list(), viewer.sync(), viewer.put(doc(b"", "y"), 0)):
                with self.assertRaises(NotConfiguredError):
                    await failing

    async def test_wrong_token(self) -> None:
        await self.manager("laptop").put(doc(b"data", "x"), 4)
        for token in ("wrong", None, "", self.token[:-1]):
            stranger = self.manager("stranger", token=token)
            for failing in (stranger.get("x"), stranger.count(), stranger.sync()):
                with self.assertRaises(UnauthorizedError) as caught:
                    await failing
                if token:
                    self.assertNotIn(token, str(caught.exception))

    async def test_another_user(self) -> None:
        await self.manager("laptop").put(doc(b"data", "x"), 4)
        stranger = self.manager("stranger", user="mallory")
        with self.assertRaises(UnauthorizedError):
            await stranger.get("x")


class ServerOnlyOverTLSTests(ServerOnlyTests):
    tls = True

    async def test_wrong_authority(self) -> None:
        other = Authority("somebody else").write(os.path.join(self.folder, "other.pem"))
        for cert_file in (other, None):
            laptop = self.manager("laptop", cert_file=cert_file)
            with self.assertRaises(CertificateError):
                await laptop.count()
            with self.assertRaises(CertificateError):
                await laptop.put(doc(b"data"), 4)

    async def test_certificate_for_another_host(self) -> None:
        await self.stop_server()
        os.unlink(os.path.join(self.folder, "server.pem"))
        authority().issue(os.path.join(self.folder, "server.pem"), "example.org")
        await self.start_server()
        with self.assertRaises(CertificateError):
            await self.manager().count()


class LocalOnlyManagerTests(ServerTestCase):
    async def test_without_a_server(self) -> None:
        for nothing in (None, ""):
            alone = self.manager(f"alone-{nothing}", remote=nothing)
            await alone.put(doc(b"mine", "x"), 4, local_only=True)
            self.assertEqual((await alone.get("x")).read(), b"mine")
            with self.assertRaises(NotConfiguredError):
                await alone.put(doc(b"ours", "y"), 4)
            self.assertEqual(await alone.local_list(), ["x", "y"])
            self.assertIs(await status_of(alone, "y"), SyncStatus.PENDING_UPLOAD)
            for failing in (alone.count(), alone.remote_list(), alone.sync()):
                with self.assertRaises(NotConfiguredError):
                    await failing
            with self.assertRaises(BlobNotFoundError):
                await alone.get("z")
            await alone.delete("x")
            self.assertEqual(await alone.local_list(), ["y"])
            await alone.close()
            again = self.manager(f"alone-{nothing}")
            await again.sync()
            self.assertEqual((await again.remote_list())[-1:], ["y"])
            await again.delete("y")

    async def test_wrong_key(self) -> None:
        laptop = self.manager()
        await laptop.put(doc(b"mine", "x"), 4, local_only=True)
        await laptop.close()
        path = os.path.join(self.folder, "laptop", f"{USER}_blobs.db")
        with open(path, "rb") as file:
            before = file.read()
        thief = self.manager(key="a wrong key")
        with self.assertRaises(WrongKeyError) as caught:
            await thief.local_list()
        self.assertNotIn("a wrong key", str(caught.exception))
        await thief.close()
        with open(path, "rb") as file:
            self.assertEqual(file.read(), before)
        self.assertEqual((await self.manager().get("x")).read(), b"mine")

    async def test_closed(self) -> None:
        laptop = self.manager()
        await laptop.put(doc(b"mine", "x"), 4)
        await laptop.close()
        await laptop.close()
        for failing in (laptop.get("x"), laptop.count(), laptop.sync(), laptop.sync_progress):
            with self.assertRaises(ClosedError):
                await failing
        again = self.manager()
        self.assertEqual((await again.get("x")).read(), b"mine")

    async def test_close_ends_what_is_under_way(self) -> None:
        laptop = self.manager()
        putting: list[Deferred[None]] = [
            laptop.put(doc(content(5 * MB), f"blob-{number}"), 5 * MB) for number in range(5)
        ]
        await laptop.close()
        for one in putting:
            self.assertTrue(one.called)
            with self.assertRaises(CancelledError):
                await one

    async def test_close_begins_nothing(self) -> None:
        self.patch(BlobsClient, "upload", lambda *_: Deferred())
        laptop = self.manager()
        assert laptop.local is not None
        begun: list[str] = []
        look_up = laptop.local.get_sync_status

        def noted(blob_id: str, *arguments: Any) -> Deferred[Any]:
            begun.append(blob_id)
            return look_up(blob_id, *arguments)

        # An upload begins with this.
        self.patch(laptop.local, "get_sync_status", noted)
        putting = [laptop.put(doc(b"data"), 4) for _ in range(60)]
        while len(await laptop.local_list()) < len(putting) or len(begun) < 3:
            for one in putting:
                self.assertNoResult(one)
        await laptop.close()
        self.assertEqual(len(begun), 3)
        for one in putting:
            self.failureResultOf(one, CancelledError)

    async def test_wrong_arguments(self) -> None:
        laptop = self.manager()
        wrong: list[tuple[type[Exception], str, Deferred[Any]]] = [
            (ValueError, "blob_id", laptop.get("../passwd")),
            (ValueError, "blob_id", laptop.get("")),
            (ValueError, "blob_id", laptop.get("x" * 255)),
            (TypeError, "blob_id", laptop.get(b"x")),  # type: ignore[arg-type]
            (ValueError, "namespace", laptop.get("x", "a b")),
            (TypeError, "namespace", laptop.get("x", None)),  # type: ignore[arg-type]
            (ValueError, "priority", laptop.get("x", priority=9)),
            (TypeError, "priority", laptop.get("x", priority=None)),  # type: ignore[arg-type]
            (ValueError, "size", laptop.put(doc(b""), -1)),
            (ValueError, "size", laptop.put(doc(b""), 2**36)),
            (TypeError, "size", laptop.put(doc(b""), "1")),  # type: ignore[arg-type]
            (TypeError, "doc", laptop.put(b"data", 4)),  # type: ignore[arg-type]
            (ValueError, "namespace", laptop.sync("\n")),
            (ValueError, "blob_id", laptop.delete("a/b")),
            (ValueError, "namespace", laptop.count("a/b")),
            (TypeError, "status", laptop.local_list_status("SYNCED")),  # type: ignore[arg-type]
        ]
        for kind, argument, failing in wrong:
            with self.assertRaises(kind) as caught:
                await failing
            self.assertIn(argument, str(caught.exception))
        self.assertFalse(os.path.exists(os.path.join(self.folder, "laptop")))

    async def test_longest_names(self) -> None:
        longest = "x" * 254
        laptop, phone = self.manager("laptop"), self.manager("phone")
        await laptop.put(doc(b"data", longest), 4, namespace=longest)
        self.assertEqual((await phone.get(longest, longest)).read(), b"data")
        await phone.set_flags(longest, ["PENDING"], longest)
        await phone.delete(longest, longest)
        self.assertEqual(await phone.remote_list(longest, deleted=True), [longest])

    async def test_list_by_status_and_priority(self) -> None:
        laptop = self.manager()
        priorities: list[Priority | int | str] = ["low", "urgent", 2, Priority.URGENT, "HIGH"]
        for number, priority in enumerate(priorities):
            await laptop.put(doc(b"", f"{number}"), 0, local_only=True, priority=priority)
        self.assertEqual(
            await laptop.local_list_status(SyncStatus.LOCAL_ONLY), ["1", "3", "4", "2", "0"]
        )
        self.assertEqual(await laptop.local_list_status(SyncStatus.SYNCED), [])
        self.assertEqual(await laptop.local_list(), ["0", "1", "2", "3", "4"])


WRONG_LIMITS: list[tuple[Any, type[Exception]]] = [
    (0, ValueError),
    (-1, ValueError),
    ("3", TypeError),
    (None, TypeError),
    (2.5, TypeError),
    (True, TypeError),
]


class ConstructorTests(SynchronousTestCase):
    def make(self, **options: Any) -> BlobManager:
        arguments: dict[str, Any] = {
            "local_path": self.mktemp(),
            "remote": "http://localhost/blobs/",
            "key": KEY,
            "secret": SECRET,
            "user": USER,
        }
        return BlobManager(**{**arguments, **options})

    def test_wrong_arguments_raise_at_once(self) -> None:
        for name, value, kind in [
            ("user", "a/b", ValueError),
            ("user", None, TypeError),
            ("remote", "ftp://host/", ValueError),
            ("remote", 7, TypeError),
            ("remote_stream", "host", ValueError),
            ("secret", "s" * 64, ValueError),
            ("secret", None, TypeError),
            ("secret", "\u20ac" * 96, ValueError),
            ("key", "", ValueError),
            ("key", None, TypeError),
            ("key", 5, TypeError),
            ("key", "\u20ac", ValueError),
            ("token", 5, TypeError),
            ("token", b"token", TypeError),
            ("token", "token\n", ValueError),
            ("token", "tok\ren", ValueError),
            ("token", " token", ValueError),
            ("token", "tok\0en", ValueError),
            ("token", "tok\ud800en", ValueError),
            ("local_path", 5, TypeError),
            ("local_path", False, TypeError),
            ("local_path", b"store", TypeError),
            ("local_path", "a\0b", ValueError),
            ("local_path", Path("a\0b"), ValueError),
            ("local_path", "\ud800", ValueError),
            ("remote", 0, TypeError),
            ("remote", b"", TypeError),
            ("remote_stream", 0, TypeError),
            ("cert_file", 0, TypeError),
            ("cert_file", b"pem", TypeError),
            ("cert_file", "", ValueError),
            ("cert_file", "a\0b", ValueError),
            ("reactor", object(), TypeError),
            ("observer", object(), TypeError),
            ("jitter", 0.5, TypeError),
            ("idle_timeout", None, TypeError),
            ("idle_timeout", "60", TypeError),
            ("idle_timeout", True, TypeError),
            ("idle_timeout", 0, ValueError),
            ("idle_timeout", -1, ValueError),
            ("idle_timeout", float("nan"), ValueError),
            ("idle_timeout", float("inf"), ValueError),
            ("limit_rate", 0.001, ValueError),
            ("limit_rate", "1", TypeError),
        ]:
            with self.assertRaises(kind) as caught:
                self.make(**{name: value})
            self.assertIn(name, str(caught.exception))
            for hidden in ("s" * 64, "\u20ac", "tok\n", "tok\r", "tok\0"):
                self.assertNotIn(hidden, str(caught.exception))

    def test_a_key_is_checked_without_a_store(self) -> None:
        self.assertRaises(TypeError, self.make, local_path=None, key=5)
        self.make(local_path=None, key=None)

    def test_limits_are_checked_on_an_instance(self) -> None:
        manager = self.make()
        for name in LIMITS:
            for value, kind in WRONG_LIMITS:
                with self.assertRaises(kind) as caught:
                    setattr(manager, name, value)
                self.assertIn(name, str(caught.exception))
            setattr(manager, name, 7)
            self.assertEqual(getattr(manager, name), 7)
            delattr(manager, name)
            self.assertEqual(getattr(manager, name), getattr(BlobManager, name))

    def test_limits_are_checked_on_a_class(self) -> None:
        class Manager(BlobManager):
            max_decrypt_retries = 5

        self.assertEqual(Manager.max_decrypt_retries, 5)
        for name in LIMITS:
            for value, kind in WRONG_LIMITS:
                for wrong in (
                    lambda: setattr(Manager, name, value),  # noqa: B023
                    lambda: type("Wrong", (BlobManager,), {name: value}),  # noqa: B023
                ):
                    with self.assertRaises(kind) as caught:
                        wrong()
                    self.assertIn(name, str(caught.exception))
            setattr(Manager, name, 9)
            self.assertEqual(getattr(Manager, name), 9)

    def test_a_subclass_may_be_abstract(self) -> None:
        class Manager(BlobManager, ABC):
            @abstractmethod
            def more(self) -> None: ...

        self.assertRaises(TypeError, Manager)

    def test_cert_file(self) -> None:
        self.assertRaises(OSError, self.make, cert_file=self.mktemp())
        path = self.mktemp()
        with open(path, "w") as file:
            file.write("no certificate")
        with self.assertRaises(ValueError) as caught:
            self.make(cert_file=path)
        self.assertIn("cert_file", str(caught.exception))

    def test_attributes(self) -> None:
        manager = self.make()
        self.assertEqual((manager.user, manager.remote), (USER, "http://localhost/blobs/"))
        self.assertIsNone(manager.remote_stream)
        self.assertEqual(
            (
                manager.max_decrypt_retries,
                manager.concurrent_transfers_limit,
                manager.concurrent_writes_limit,
            ),
            (3, 3, 100),
        )

    def test_no_secret_in_any_repr(self) -> None:
        manager = self.make(token="the-token")
        for hidden in (SECRET, KEY, "the-token"):
            self.assertNotIn(hidden, repr(manager))
            self.assertNotIn(hidden, repr(manager.local))
            self.assertNotIn(hidden, repr(engine_of(manager).server))

    def test_errors_have_one_root(self) -> None:
        self.assertTrue(issubclass(BlobNotFoundError, BlobError))
