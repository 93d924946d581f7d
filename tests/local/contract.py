"""What every store does, whatever it is made of."""

from __future__ import annotations

import hashlib
import io
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.trial.unittest import SkipTest, TestCase
from zope.interface.verify import verifyClass, verifyObject

from blobman.errors import (
    BlobAlreadyExistsError,
    BlobError,
    BlobNotFoundError,
    ClosedError,
    IllegalStatusChange,
    InvalidBlob,
    UnreadableContentError,
    WrongSizeError,
)
from blobman.interfaces import IBlobStore, IPayload, IStagedBlob
from blobman.model import (
    UNAVAILABLE_STATUSES,
    Priority,
    QueuedTransfer,
    SyncStatus,
    is_legal_change,
)

MIB = 1 << 20
S = SyncStatus
HERE = (S.SYNCED, S.PENDING_UPLOAD, S.FAILED_UPLOAD, S.LOCAL_ONLY)
SIZES = (0, 1, 10_000, MIB - 1, MIB, MIB + 1, 3 * MIB + 17, 21 * MIB + 5)


def content(size: int, seed: str = "") -> bytes:
    """Bytes that are the same each time, and that no other seed gives."""
    return hashlib.shake_128(seed.encode()).digest(size)


class StoreTestCase(TestCase):
    """What tests for any store need; a test case that mixes it in makes the stores."""

    def make_store(self) -> Any:
        """Make an empty store that is closed at the end."""
        raise SkipTest("a contract: stores are made where it is mixed in")

    async def setUp(self) -> None:  # type: ignore[override]
        self.store = self.make_store()

    async def put(self, blob_id: str = "a", data: bytes = b"data", **more: Any) -> None:
        await self.store.put(blob_id, io.BytesIO(data), len(data), **more)

    async def read(self, blob_id: str = "a", namespace: str = "") -> bytes | None:
        file = await self.store.get(blob_id, namespace)
        return None if file is None else file.read()

    async def status(self, blob_id: str = "a", namespace: str = "") -> SyncStatus | None:
        found = await self.store.get_sync_status(blob_id, namespace)
        return None if found is None else found[0]

    async def bring_to(self, status: SyncStatus, blob_id: str = "a") -> None:
        """Give a blob that is not recorded a status, on a legal way."""
        if status in UNAVAILABLE_STATUSES:
            await self.store.update_sync_status(blob_id, S.PENDING_DOWNLOAD)
        else:
            first = S.LOCAL_ONLY if status is S.LOCAL_ONLY else S.PENDING_UPLOAD
            await self.put(blob_id, status=first)
        await self.store.update_sync_status(blob_id, status)

    async def fails(self, kind: type[BaseException], work: Deferred[Any]) -> str:
        """Wait for a failure, and give its message."""
        error = await self.assertFailure(work, kind)
        return str(error)


class StoreContract(StoreTestCase):
    """Tests for any store."""

    # What it is

    async def test_interfaces(self) -> None:
        verifyClass(IBlobStore, type(self.store))
        verifyObject(IBlobStore, self.store)
        staged = self.store.stage("s")
        verifyObject(IStagedBlob, staged)
        await staged.discard()
        await self.put()
        verifyObject(IPayload, await self.store.open_payload("a"))

    # put and get

    async def test_sizes(self) -> None:
        for size in SIZES:
            data = content(size, f"put {size}")
            await self.put(f"put{size}", data)
            self.assertTrue(await self.read(f"put{size}") == data, size)

    async def test_put_records(self) -> None:
        await self.put("a")
        await self.put("b", status=S.LOCAL_ONLY, priority=Priority.URGENT)
        self.assertEqual(await self.store.get_sync_status("a"), (S.PENDING_UPLOAD, 0))
        self.assertEqual(await self.store.get_priority("a"), Priority.MEDIUM)
        self.assertEqual(await self.store.get_sync_status("b"), (S.LOCAL_ONLY, 0))
        self.assertEqual(await self.store.get_priority("b"), Priority.URGENT)

    async def test_put_reads_from_the_start(self) -> None:
        file = io.BytesIO(b"0123456789")
        file.seek(4)
        await self.store.put("a", file, 10)
        self.assertEqual(await self.read(), b"0123456789")

    async def test_put_takes_a_file_that_gives_little_at_a_time(self) -> None:
        class Trickle(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                return super().read(min(size or 1, 100_003))

        for size in (250_000, 2 * MIB + 1):
            data = content(size)
            await self.store.put(f"t{size}", Trickle(data), size)
            self.assertTrue(await self.read(f"t{size}") == data)

    async def test_put_again(self) -> None:
        for size in (4, 2 * MIB):
            blob_id = f"b{size}"
            await self.put(blob_id, content(size))
            message = await self.fails(
                BlobAlreadyExistsError, self.store.put(blob_id, io.BytesIO(b"other"), 5)
            )
            self.assertIn(blob_id, message)
            self.assertTrue(await self.read(blob_id) == content(size))

    async def test_put_of_an_id_that_is_taken_does_not_touch_the_file(self) -> None:
        file = io.BytesIO(b"12345")
        file.seek(3)
        for status in S:
            await self.bring_to(status, status.name)
            await self.fails(BlobAlreadyExistsError, self.store.put(status.name, file, 5))
            self.assertEqual(await self.status(status.name), status)
        self.assertEqual(file.tell(), 3)

    async def test_put_says_what_is_in_the_way(self) -> None:
        await self.bring_to(S.PENDING_DELETE)
        message = await self.fails(
            BlobAlreadyExistsError, self.store.put("a", io.BytesIO(b""), 0, "")
        )
        self.assertIn("waits to be deleted", message)

    async def test_one_of_many_puts_of_one_id(self) -> None:
        for size in (10, MIB + 10):
            blob_id = f"b{size}"
            puts = [
                self.store.put(blob_id, io.BytesIO(content(size, str(n))), size) for n in range(5)
            ]
            done = [n for n, put in enumerate(puts) if await _succeeds(put)]
            self.assertEqual(len(done), 1)
            self.assertTrue(await self.read(blob_id) == content(size, str(done[0])))

    async def test_namespaces_are_apart(self) -> None:
        await self.put("a", b"one")
        await self.put("a", b"two", namespace="n", status=S.LOCAL_ONLY)
        self.assertEqual(await self.read("a"), b"one")
        self.assertEqual(await self.read("a", "n"), b"two")
        await self.store.delete("a", "n")
        self.assertEqual(await self.read("a"), b"one")
        self.assertIsNone(await self.read("a", "n"))
        self.assertEqual(await self.store.list_namespaces(), [""])

    async def test_namespaces_that_can_not_be(self) -> None:
        store = self.store
        for wrong in ("default", "a/b", "x" * 255):
            for failing in (
                store.put("a", io.BytesIO(b""), 0, wrong),
                store.get("a", wrong),
                store.open_payload("a", wrong),
                store.open_pending_uploads(["a"], wrong, 9),
                store.mark_uploaded({"a": None}, wrong),
                store.exists("a", wrong),
                store.delete("a", wrong),
                store.list(wrong),
                store.list_external(wrong),
                store.list_status(S.SYNCED, wrong),
                store.get_size_list(S.SYNCED, wrong),
                store.get_sync_status("a", wrong),
                store.update_sync_status("a", S.PENDING_DOWNLOAD, wrong),
                store.get_sync_progress(wrong),
                store.find_waiting(wrong),
                store.get_priority("a", wrong),
                store.update_priority("a", Priority.LOW, wrong),
                store.increment_retries("a", wrong),
                store.forget("a", wrong),
                store.next_transfers(S.SYNCED, wrong, 9),
                store.apply_tombstones({"a"}, set(), wrong),
                store.apply_remote_list({"a"}, wrong),
            ):
                self.assertIn("namespace", await self.fails(ValueError, failing))
            self.assertRaises(ValueError, store.stage, "a", wrong)
        self.assertEqual(await store.list_namespaces(), [])

    async def test_wrong_size(self) -> None:
        for real, said in ((5, 4), (5, 6), (0, 1), (1, 0), (MIB + 1, MIB), (MIB, MIB + 1)):
            for more in (0, 2 * MIB):
                put = self.store.put("a", io.BytesIO(content(real + more)), said + more)
                message = await self.fails(WrongSizeError, put)
                self.assertIn("'a'", message)
                self.assertIsNone(await self.status())

    async def test_unreadable_file(self) -> None:
        class Broken(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                if self.tell() >= 3 * MIB or size == 10:
                    raise OSError(5, "the disk is scratched")
                return super().read(size)

        for size in (10, 12 * MIB):
            put = self.store.put("a", Broken(bytes(size)), size)
            error = await self.assertFailure(put, UnreadableContentError)
            self.assertIsInstance(error.__cause__, OSError)
            self.assertIn("scratched", str(error))
            self.assertIsNone(await self.status())

    async def test_closed_file(self) -> None:
        file = io.BytesIO(b"abc")
        file.close()
        await self.fails(UnreadableContentError, self.store.put("a", file, 3))

    async def test_file_that_is_none(self) -> None:
        class NotSeekable(io.BytesIO):
            def seek(self, offset: int, whence: int = 0, /) -> int:
                raise io.UnsupportedOperation("underlying stream is not seekable")

        self.assertIn("doc", await self.fails(TypeError, self.store.put("a", io.StringIO("x"), 1)))
        self.assertIn("doc", await self.fails(TypeError, self.store.put("a", b"bytes", 5)))
        self.assertIn("doc", await self.fails(ValueError, self.store.put("a", NotSeekable(), 0)))
        self.assertIsNone(await self.status())

    async def test_wrong_arguments(self) -> None:
        file = io.BytesIO(b"x")
        for blob_id, size, kind in (("a/b", 1, ValueError), ("a", -1, ValueError)):
            await self.fails(kind, self.store.put(blob_id, file, size))
        await self.fails(TypeError, self.store.put("a", file, "1"))
        await self.fails(TypeError, self.store.put(1, file, 1))
        await self.fails(ValueError, self.store.put("a", file, 1, status=S.SYNCED))
        await self.fails(ValueError, self.store.get("a", "x y"))
        self.assertEqual(await self.store.list_namespaces(), [])

    # The file that get returns

    async def test_get_of_nothing(self) -> None:
        self.assertIsNone(await self.store.get("a"))
        self.assertFalse(await self.store.exists("a"))
        self.assertIsNone(await self.store.open_payload("a"))

    async def test_get_and_the_statuses(self) -> None:
        for status in S:
            await self.bring_to(status, status.name)
            there = status in HERE
            self.assertEqual(await self.store.exists(status.name), there, status)
            self.assertEqual(await self.read(status.name), b"data" if there else None, status)
        self.assertEqual(await self.store.list(), [s.name for s in S if s in HERE])

    async def test_file(self) -> None:
        for size in (0, 5000, 3 * MIB + 5):
            data = content(size, "file")
            await self.put(f"f{size}", data, namespace="n")
            file = await self.store.get(f"f{size}", "n")
            same = io.BytesIO(data)
            self.assertTrue(file.readable() and file.seekable() and not file.writable())
            self.assertEqual((file.tell(), file.size, file.external), (0, size, False))
            self.assertEqual((file.blob_id, file.namespace), (f"f{size}", "n"))
            for offset, whence, count in (
                (0, 0, 10),
                (4000, 0, 3000),
                (MIB - 3, 0, 6),
                (5, 1, 100_000),
                (-7, 2, 100),
                (2 * MIB - 1, 0, MIB + 7),
                (10, 2, 5),
            ):
                if offset + (size if whence == 2 else 0) >= 0:
                    self.assertEqual(file.seek(offset, whence), same.seek(offset, whence))
                self.assertTrue(file.read(count) == same.read(count), (size, offset, whence))
                self.assertTrue(file.getvalue() == data)
                self.assertEqual(file.tell(), same.tell())
            file.seek(0)
            self.assertTrue(file.read() == data)
            self.assertEqual(file.read(), b"")
            file.close()
            self.assertRaises(ValueError, file.read)
            self.assertRaises(ValueError, file.getvalue)

    async def test_file_can_not_be_written(self) -> None:
        await self.put()
        file = await self.store.get("a")
        self.assertRaises(io.UnsupportedOperation, file.write, b"x")
        self.assertRaises(ValueError, file.seek, -1)

    async def test_file_of_a_deleted_blob(self) -> None:
        for size in (100, 3 * MIB):
            data = content(size)
            await self.put("a", data, status=S.LOCAL_ONLY)
            file = await self.store.get("a")
            self.assertEqual(file.read(10), data[:10])
            await self.store.delete("a")
            await self.put("a", content(size, "another"), status=S.LOCAL_ONLY)
            try:
                rest = file.read()
            except BlobNotFoundError:
                pass
            else:
                self.assertTrue(rest == data[10:])
            await self.store.delete("a")

    async def test_file_of_a_closed_store(self) -> None:
        for size in (100, 3 * MIB):
            await self.put(f"c{size}", content(size))
        files = [await self.store.get(f"c{size}") for size in (100, 3 * MIB)]
        await self.store.close()
        for file in files:
            self.assertRaises(ClosedError, file.read)
            self.assertRaises(ClosedError, file.getvalue)

    # Payloads

    async def test_payload(self) -> None:
        for size in (0, 100, MIB, MIB + 1, 3 * MIB):
            data = content(size)
            await self.put(f"p{size}", data, preamble=b"preamble")
            payload = await self.store.open_payload(f"p{size}")
            self.assertEqual((payload.size, payload.preamble), (size, b"preamble"))
            chunks = [await payload.read_chunk(n) for n in reversed(range(payload.chunk_count))]
            self.assertTrue(b"".join(reversed(chunks)) == data)
            self.assertEqual(len({len(chunk) for chunk in chunks[1:]}), min(1, len(chunks[1:])))

    async def test_mark_uploaded(self) -> None:
        for name in "abcd":
            await self.put(name)
        await self.store.update_sync_status("b", S.FAILED_UPLOAD)
        await self.store.update_sync_status("c", S.PENDING_DELETE)
        await self.store.update_sync_status("d", S.SYNCED)
        self.assertEqual(
            await self.store.mark_uploaded(dict.fromkeys("abcdx"), ""), ["b", "c", "x"]
        )
        found = [await self.store.get_sync_status(name) for name in "abcd"]
        expected = [S.SYNCED, S.FAILED_UPLOAD, S.PENDING_DELETE, S.SYNCED]
        self.assertEqual([record and record[0] for record in found], expected)

    async def test_a_preamble_is_recorded_once(self) -> None:
        async def preamble_of(blob_id: str) -> bytes:
            payload = await self.store.open_payload(blob_id)
            return payload.preamble  # type: ignore[no-any-return]

        for size in (0, 4, MIB + 1):
            name = f"b{size}"
            await self.put(name, content(size))
            self.assertEqual(await preamble_of(name), b"")
            for recorded in (b"first", b"second"):
                await self.store.record_preamble(name, recorded)
                self.assertEqual(await preamble_of(name), b"first")
            opened = await self.store.open_pending_uploads([name], "", 4)
            self.assertEqual([it.preamble for it in opened.values()], [b"first"] * (size <= 4))
            self.assertTrue(await self.read(name) == content(size))
        await self.put("kept", status=S.LOCAL_ONLY)
        await self.store.record_preamble("kept", b"preamble")
        self.assertEqual(await preamble_of("kept"), b"")
        await self.store.record_preamble("nothing", b"preamble")
        self.assertIsNone(await self.status("nothing"))
        await self.fails(ValueError, self.store.record_preamble("a", b"preamble", "a/b"))

    async def test_payload_waits_for_its_deletion(self) -> None:
        await self.bring_to(S.PENDING_DELETE)
        self.assertIsNotNone(await self.store.open_payload("a"))

    async def test_payload_of_a_deleted_blob(self) -> None:
        for size in (100, 3 * MIB):
            await self.put("a", content(size), status=S.LOCAL_ONLY)
            payload = await self.store.open_payload("a")
            await self.store.delete("a")
            try:
                last = await payload.read_chunk(payload.chunk_count - 1)
            except BlobNotFoundError:
                pass
            else:
                self.assertTrue(content(size).endswith(last))

    # Staging

    async def begin_download(self, blob_id: str) -> Any:
        await self.store.update_sync_status(blob_id, S.PENDING_DOWNLOAD)
        return self.store.stage(blob_id)

    async def test_staged_sizes(self) -> None:
        for size in SIZES:
            data = content(size, "staged")
            for step in (65_536, 300_001, 5 * MIB):
                blob_id = f"s{size}-{step}"
                staged = await self.begin_download(blob_id)
                for start in range(0, size, step):
                    room = staged.write(memoryview(data)[start : start + step])
                    if room is not None:
                        await room
                self.assertIs(await self.status(blob_id), S.PENDING_DOWNLOAD)
                self.assertIsNone(await self.store.get(blob_id))
                await staged.publish(b"preamble")
                self.assertEqual(await self.store.get_sync_status(blob_id), (S.SYNCED, 0))
                self.assertTrue(await self.read(blob_id) == data, (size, step))
                payload = await self.store.open_payload(blob_id)
                self.assertEqual(payload.preamble, b"preamble")

    async def test_staged_bytes_are_copied(self) -> None:
        for size in (10, 2 * MIB):
            buffer = bytearray(content(size))
            staged = await self.begin_download(f"s{size}")
            staged.write(buffer)
            buffer[:] = bytes(size)
            await staged.publish(b"")
            self.assertTrue(await self.read(f"s{size}") == content(size))

    async def test_staged_without_waiting(self) -> None:
        data = content(10 * MIB)
        staged = await self.begin_download("a")
        rooms = [staged.write(data[start : start + MIB]) for start in range(0, len(data), MIB)]
        await staged.publish(b"")
        self.assertTrue(await self.read() == data)
        self.assertTrue(all(room is None or room.called for room in rooms))

    async def test_staged_external(self) -> None:
        staged = await self.begin_download("a")
        staged.write(b"sealed by others")
        await staged.publish(b"", external=True)
        file = await self.store.get("a")
        self.assertTrue(file.external)

    async def test_list_external(self) -> None:
        await self.put("mine")
        self.assertEqual(await self.store.list_external(), [])
        for blob_id in ("z", "a", "doomed"):
            await (await self.begin_download(blob_id)).publish(b"", external=True)
        await self.store.update_sync_status("doomed", S.PENDING_DELETE)
        self.assertEqual(await self.store.list_external(), ["z", "a"])
        self.assertEqual(await self.store.list_external("mail"), [])

    async def test_publish_and_the_statuses(self) -> None:
        for status in (None, *S):
            blob_id = "absent" if status is None else status.name
            if status is not None:
                await self.bring_to(status, blob_id)
            staged = self.store.stage(blob_id)
            staged.write(b"downloaded")
            # What is not recorded has been deleted since it was asked for.
            if status in (None, S.PENDING_DELETE, S.FAILED_DOWNLOAD):
                await self.fails(IllegalStatusChange, staged.publish(b""))
                self.assertEqual(await self.status(blob_id), status)
            else:
                await staged.publish(b"")
                new = status not in HERE
                self.assertEqual(await self.status(blob_id), S.SYNCED if new else status)
                self.assertEqual(await self.read(blob_id), b"downloaded" if new else b"data")
            await staged.discard()

    async def test_publish_sets_the_retries_to_0_and_keeps_the_priority(self) -> None:
        await self.store.update_sync_status("a", S.PENDING_DOWNLOAD, "", Priority.HIGH)
        await self.store.increment_retries("a")
        await self.store.stage("a").publish(b"")
        self.assertEqual(await self.store.get_sync_status("a"), (S.SYNCED, 0))
        self.assertEqual(await self.store.get_priority("a"), Priority.HIGH)

    async def test_discard(self) -> None:
        for size in (10, 3 * MIB):
            staged = self.store.stage("a")
            staged.write(content(size))
            await staged.discard()
            await staged.discard()
            self.assertIsNone(staged.write(b"late"))
            await self.assertFailure(staged.publish(b""), ValueError)
        self.assertEqual(await self.store.list_namespaces(), [])

    async def test_discard_after_publish(self) -> None:
        for size in (10, 3 * MIB):
            staged = await self.begin_download(f"s{size}")
            staged.write(content(size))
            await staged.publish(b"")
            await staged.discard()
            self.assertTrue(await self.read(f"s{size}") == content(size))

    # delete

    async def test_delete_and_the_statuses(self) -> None:
        for status in (None, *S):
            blob_id = "absent" if status is None else status.name
            if status is not None:
                await self.bring_to(status, blob_id)
            if status in (S.PENDING_UPLOAD, S.FAILED_UPLOAD):
                await self.fails(IllegalStatusChange, self.store.delete(blob_id))
                self.assertEqual(await self.read(blob_id), b"data")
                continue
            had = status is not None and status not in UNAVAILABLE_STATUSES
            self.assertEqual(await self.store.delete(blob_id), had)
            self.assertIsNone(await self.status(blob_id))
        self.assertEqual(
            await self.store.get_sync_progress(), {"PENDING_UPLOAD": 1, "FAILED_UPLOAD": 1}
        )

    async def test_delete_large(self) -> None:
        await self.put("a", content(5 * MIB), status=S.LOCAL_ONLY)
        self.assertTrue(await self.store.delete("a"))
        self.assertFalse(await self.store.delete("a"))
        self.assertIsNone(await self.store.get("a"))
        await self.put("a", b"again")
        self.assertEqual(await self.read(), b"again")

    # Statuses

    async def test_every_change(self) -> None:
        """The table decides, and whether there is a local copy."""
        number = 0
        for before in (None, *S):
            for after in S:
                number += 1
                blob_id = f"b{number}"
                if before is not None:
                    await self.bring_to(before, blob_id)
                here = before in (*HERE, S.PENDING_DELETE)
                fits = after is S.PENDING_DELETE or here == (after not in UNAVAILABLE_STATUSES)
                change = self.store.update_sync_status(blob_id, after)
                if before == after or (is_legal_change(before, after) and fits):
                    await change
                    self.assertEqual(await self.status(blob_id), after)
                else:
                    message = await self.fails(IllegalStatusChange, change)
                    self.assertIn(blob_id, message)
                    self.assertIn(after.name, message)
                    self.assertEqual(await self.status(blob_id), before)

    async def test_retries(self) -> None:
        self.assertEqual(await self.store.increment_retries("a"), 0)
        await self.store.update_sync_status("a", S.PENDING_DOWNLOAD)
        self.assertEqual(await self.store.increment_retries("a"), 1)
        self.assertEqual(await self.store.increment_retries("a"), 2)
        await self.store.update_sync_status("a", S.PENDING_DOWNLOAD)
        self.assertEqual(await self.store.get_sync_status("a"), (S.PENDING_DOWNLOAD, 2))
        await self.store.update_sync_status("a", S.FAILED_DOWNLOAD)
        self.assertEqual(await self.store.get_sync_status("a"), (S.FAILED_DOWNLOAD, 2))
        await self.store.update_sync_status("a", S.PENDING_DOWNLOAD)
        self.assertEqual(await self.store.get_sync_status("a"), (S.PENDING_DOWNLOAD, 0))

    async def test_priorities(self) -> None:
        self.assertIsNone(await self.store.get_priority("a"))
        await self.store.update_priority("a", Priority.HIGH)
        self.assertIsNone(await self.store.get_priority("a"))
        await self.store.update_sync_status("a", S.PENDING_DOWNLOAD)
        self.assertEqual(await self.store.get_priority("a"), Priority.MEDIUM)
        await self.store.update_sync_status("a", S.PENDING_DOWNLOAD, "", Priority.URGENT)
        self.assertEqual(await self.store.get_priority("a"), Priority.URGENT)
        await self.store.update_sync_status("a", S.PENDING_DOWNLOAD, "", Priority.LOW)
        self.assertEqual(await self.store.get_priority("a"), Priority.URGENT)
        await self.store.update_priority("a", Priority.LOW)
        self.assertEqual(await self.store.get_priority("a"), Priority.LOW)

    async def test_forget(self) -> None:
        for status in (None, *S):
            blob_id = "absent" if status is None else status.name
            if status is not None:
                await self.bring_to(status, blob_id)
            await self.store.forget(blob_id)
            after = None if status in UNAVAILABLE_STATUSES else status
            self.assertEqual(await self.status(blob_id), after)

    # Lists

    async def test_lists(self) -> None:
        P = Priority
        for blob_id, priority in (("z", P.LOW), ("y", P.HIGH), ("x", P.LOW), ("w", P.URGENT)):
            await self.put(blob_id, blob_id.encode() * 7, priority=priority)
        await self.put("other", namespace="n")
        await self.store.update_sync_status("m", S.PENDING_DOWNLOAD)
        order = ["w", "y", "z", "x"]
        self.assertEqual(await self.store.list(), ["z", "y", "x", "w"])
        self.assertEqual(await self.store.list_status(S.PENDING_UPLOAD), order)
        self.assertEqual(await self.store.list_status(S.SYNCED), [])
        sizes = await self.store.get_size_list(S.PENDING_UPLOAD)
        self.assertEqual(sizes, [(blob_id, 7) for blob_id in order])
        self.assertEqual(await self.store.get_size_list(S.PENDING_DOWNLOAD), [])
        self.assertEqual(await self.store.list_namespaces(), ["", "n"])
        waiting = {"PENDING_UPLOAD": 4, "PENDING_DOWNLOAD": 1}
        self.assertEqual(await self.store.get_sync_progress(), waiting)
        self.assertEqual(await self.store.get_sync_progress("n"), {"PENDING_UPLOAD": 1})
        self.assertEqual(await self.store.get_sync_progress("none"), {})
        everywhere = {"PENDING_UPLOAD": 5, "PENDING_DOWNLOAD": 1}
        self.assertEqual(await self.store.get_sync_progress(None), everywhere)

    async def test_next_transfers(self) -> None:
        for number in range(11):
            await self.store.update_sync_status(
                f"b{number}", S.PENDING_DOWNLOAD, "n", Priority(1 + number % 4)
            )
        found: list[QueuedTransfer] = []
        pages = 0
        while page := await self.store.next_transfers(
            S.PENDING_DOWNLOAD, "n", 3, found[-1] if found else None
        ):
            found += page
            pages += 1
        self.assertEqual(pages, 4)
        ids = [transfer.blob_id for transfer in found]
        self.assertEqual(ids, await self.store.list_status(S.PENDING_DOWNLOAD, "n"))
        self.assertEqual([t.place for t in found], sorted(t.place for t in found))
        self.assertEqual(await self.store.next_transfers(S.PENDING_DOWNLOAD, "", 3), [])

    # What the server lists

    async def all_statuses(self, *prefixes: str) -> None:
        for prefix in prefixes:
            for status in S:
                await self.bring_to(status, f"{prefix}-{status.name}")

    async def test_apply_remote_list(self) -> None:
        await self.all_statuses("listed", "unlisted")
        await self.bring_to(S.SYNCED, "elsewhere")
        listed = {f"listed-{status.name}" for status in S} | {"new", "elsewhere"}
        for _ in range(2):
            found = await self.store.apply_remote_list(listed)
            self.assertEqual(found, ["listed-PENDING_UPLOAD"])
            for status in S:
                self.assertEqual(await self.status(f"listed-{status.name}"), status)
                lost = status in (S.SYNCED, S.FAILED_UPLOAD)
                gone = status in UNAVAILABLE_STATUSES
                after = S.PENDING_UPLOAD if lost else None if gone else status
                self.assertEqual(await self.status(f"unlisted-{status.name}"), after)
            self.assertEqual(await self.status("new"), S.PENDING_DOWNLOAD)
            self.assertEqual(await self.store.get_priority("new"), Priority.MEDIUM)
        self.assertEqual(await self.store.list_namespaces(), [""])

    async def test_apply_remote_list_keeps_priorities_and_retries(self) -> None:
        await self.store.update_sync_status("a", S.PENDING_DOWNLOAD, "", Priority.HIGH)
        await self.store.increment_retries("a")
        await self.put("b", priority=Priority.URGENT)
        await self.store.update_sync_status("b", S.SYNCED)
        await self.store.apply_remote_list({"a"})
        self.assertEqual(await self.store.get_sync_status("a"), (S.PENDING_DOWNLOAD, 1))
        self.assertEqual(await self.store.get_priority("a"), Priority.HIGH)
        self.assertEqual(await self.status("b"), S.PENDING_UPLOAD)
        self.assertEqual(await self.store.get_priority("b"), Priority.URGENT)

    async def test_apply_remote_list_of_many(self) -> None:
        many = {f"{number:x}" for number in range(4000)}
        await self.put("b7-here")
        self.assertEqual(await self.store.apply_remote_list(many, "n"), [])
        self.assertEqual(await self.store.get_sync_progress("n"), {"PENDING_DOWNLOAD": 4000})
        half = {blob_id for blob_id in many if int(blob_id, 16) % 2}
        await self.store.apply_remote_list(half, "n")
        self.assertEqual(await self.store.get_sync_progress("n"), {"PENDING_DOWNLOAD": 2000})
        self.assertEqual(set(await self.store.list_status(S.PENDING_DOWNLOAD, "n")), half)
        await self.store.apply_remote_list(set(), "n")
        self.assertEqual(await self.store.get_sync_progress(None), {"PENDING_UPLOAD": 1})

    async def test_a_tombstone_that_is_older_than_the_blob(self) -> None:
        await self.bring_to(S.PENDING_DELETE, "deleted-here")
        await self.store.delete("deleted-here")
        await self.bring_to(S.LOCAL_ONLY, "never-sent")
        await self.store.delete("never-sent")
        await self.store.apply_tombstones({"deleted-there"}, set())
        await self.store.note_older_tombstone("used-again")
        kept = {"deleted-here", "deleted-there", "used-again"}
        deleted = kept | {"never-sent", "news"}
        for blob_id in deleted:
            await self.bring_to(S.SYNCED, blob_id)
        await self.bring_to(S.SYNCED, "lost")
        gone = await self.store.apply_tombstones(deleted, set())
        self.assertEqual(sorted(gone), ["never-sent", "news"])
        self.assertEqual(await self.store.apply_remote_list(set(), deleted=deleted), [])
        self.assertEqual(set(await self.store.list()), kept | {"lost"})
        for blob_id in kept:
            self.assertEqual(await self.status(blob_id), S.SYNCED)
        self.assertEqual(await self.status("lost"), S.PENDING_UPLOAD)

    async def test_a_tombstone_of_another_namespace(self) -> None:
        await self.store.apply_tombstones({"a"}, set(), "n")
        await self.bring_to(S.SYNCED, "a")
        self.assertEqual(await self.store.apply_tombstones({"a"}, set()), ["a"])

    async def replacement(self, blob_id: str, data: bytes) -> Any:
        staged = self.store.stage(blob_id, replace=True)
        room = staged.write(data)
        if room is not None:
            await room
        return staged

    async def test_replace(self) -> None:
        for size in (10, 3 * MIB):
            for status in S:
                blob_id = f"{status.name}-{size}"
                await self.bring_to(status, blob_id)
                before = await self.read(blob_id)
                publishing = (await self.replacement(blob_id, content(size))).publish(b"preamble")
                if status in (S.PENDING_DELETE, S.FAILED_DOWNLOAD):
                    await self.fails(IllegalStatusChange, publishing)
                else:
                    await publishing
                is_taken = status in (S.SYNCED, S.PENDING_DOWNLOAD)
                expected = content(size) if is_taken else before
                self.assertTrue(await self.read(blob_id) == expected, blob_id)
                self.assertEqual(await self.status(blob_id), S.SYNCED if is_taken else status)

    async def test_what_is_replaced_stays_readable(self) -> None:
        for size in (10, 3 * MIB):
            blob_id = f"size-{size}"
            await self.put(blob_id, content(size))
            await self.store.update_sync_status(blob_id, S.SYNCED)
            staged = await self.replacement(blob_id, b"new")
            self.assertTrue(await self.read(blob_id) == content(size))
            await staged.publish(b"preamble")
            self.assertEqual(await self.read(blob_id), b"new")

    async def test_what_has_no_seal_replaces_nothing_that_has_one(self) -> None:
        for size in (10, 3 * MIB):
            blob_id = f"size-{size}"
            await self.put(blob_id, content(size))
            await self.store.update_sync_status(blob_id, S.SYNCED)
            forged = await self.replacement(blob_id, content(size, "forged"))
            await self.fails(InvalidBlob, forged.publish(b"preamble", external=True))
            self.assertTrue(await self.read(blob_id) == content(size))
            self.assertEqual(await self.status(blob_id), S.SYNCED)
            payload = await self.store.open_payload(blob_id)
            self.assertFalse(payload.external)

    async def test_what_others_sealed_is_replaced_by_either(self) -> None:
        await (await self.begin_download("a")).publish(b"", external=True)
        for data, external in ((b"another", True), (b"sealed", False)):
            await (await self.replacement("a", data)).publish(b"", external)
            self.assertEqual(await self.read(), data)
            payload = await self.store.open_payload("a")
            self.assertIs(payload.external, external)

    async def test_a_replacement_that_is_not_wanted(self) -> None:
        await self.bring_to(S.SYNCED)
        await (await self.replacement("a", content(3 * MIB))).discard()
        self.assertEqual(await self.read("a"), b"data")

    async def test_apply_tombstones(self) -> None:
        await self.all_statuses("deleted", "again", "other")
        deleted = {f"{prefix}-{s.name}" for prefix in ("deleted", "again") for s in S}
        listed = {f"again-{status.name}" for status in S}
        copies = await self.store.apply_tombstones(deleted | {"never"}, listed)
        self.assertEqual(copies, ["deleted-SYNCED"])
        for status in S:
            gone = status in (S.SYNCED, *UNAVAILABLE_STATUSES)
            self.assertEqual(await self.status(f"deleted-{status.name}"), None if gone else status)
            self.assertEqual(await self.status(f"again-{status.name}"), status)
            self.assertEqual(await self.status(f"other-{status.name}"), status)
        self.assertEqual(await self.store.apply_tombstones(deleted, listed, "n"), [])

    async def test_apply_many_tombstones(self) -> None:
        many = {f"{number:x}" for number in range(3000)}
        await self.store.apply_remote_list(many)
        await self.put("large", content(2 * MIB))
        await self.store.update_sync_status("large", S.SYNCED)
        self.assertEqual(await self.store.apply_tombstones(many | {"large"}, set()), ["large"])
        self.assertEqual(await self.store.list_namespaces(), [])

    # Together, cancelled, closed

    async def test_many_at_once(self) -> None:
        await gatherResults([self.put_deferred(f"b{n}", content(n * 100)) for n in range(200)])
        read = await gatherResults([self.store.get(f"b{n}") for n in range(200)])
        for n, file in enumerate(read):
            self.assertTrue(file.read() == content(n * 100))
        self.assertEqual(len(await self.store.list()), 200)

    def put_deferred(self, blob_id: str, data: bytes) -> Deferred[None]:
        done: Deferred[None] = self.store.put(blob_id, io.BytesIO(data), len(data))
        return done

    async def test_one_that_fails_does_not_hurt_the_others(self) -> None:
        await self.put("b7")
        work = [self.put_deferred(f"b{n}", b"x") for n in range(20)]
        done = [await _succeeds(put) for put in work]
        self.assertEqual(done, [n != 7 for n in range(20)])
        self.assertEqual(len(await self.store.list()), 20)

    async def test_cancelled_put(self) -> None:
        for size in (10, 10 * MIB):
            put = self.put_deferred("a", content(size))
            put.cancel()  # A store that needs no time has done it by now.
            done = await _succeeds(put)
            self.assertEqual(await self.read("a"), content(size) if done else None)
            if done:
                await self.store.update_sync_status("a", S.SYNCED)
            else:
                await self.put("a", b"again", status=S.LOCAL_ONLY)
            await self.store.delete("a")

    async def test_close(self) -> None:
        await self.put()
        closing = [self.store.close(), self.store.close()]
        for work in (
            self.store.get("a"),
            self.store.list(),
            self.put_deferred("b", b""),
            self.store.delete("a"),
            self.store.update_sync_status("a", S.SYNCED),
            self.store.stage("c").publish(b""),
            self.store.apply_remote_list({"x"}),
        ):
            await self.fails(ClosedError, work)
        await gatherResults(closing)
        await self.store.close()

    async def test_close_before_anything(self) -> None:
        await self.store.close()
        await self.fails(ClosedError, self.store.get("a"))

    async def test_close_while_much_is_under_way(self) -> None:
        work = [self.put_deferred(f"b{n}", content(n)) for n in range(50)]
        work += [self.put_deferred(f"large{n}", content(20 * MIB)) for n in range(2)]
        staged = self.store.stage("staged")
        staged.write(content(3 * MIB))
        await self.store.close()
        for put in work:
            await _succeeds(put)
        await staged.discard()


async def _succeeds(work: Deferred[Any]) -> bool:
    try:
        await work
    except (BlobError, CancelledError):
        return False
    return True
