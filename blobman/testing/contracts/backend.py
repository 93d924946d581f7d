"""What a backend has to do."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from zope.interface.verify import verifyObject

from ...errors import BlobAlreadyExistsError, BlobNotFoundError, ClosedError
from ...model import Flags
from ...server.storage.interface import BlobName, IBlobsBackend, IStoredBlob, IUpload
from .feed import FeedContract
from .support import Consumer, name, query, sealed

LENGTHS = (1, 2, 3, 4, 5, 6, 7, 8, *range(244, 255))
LARGE = 1_000_000


class BackendContract(FeedContract):
    """Mixed into a TestCase that sets ``backend``, opened."""

    backend: IBlobsBackend

    async def listed(self, user: str = "alice", **fields: Any) -> list[str]:
        """List ids."""
        return [it async for page in self.backend.list(user, query(**fields)) for it in page]

    async def upload(self, blob: BlobName, content: bytes, flags: tuple[Flags, ...] = ()) -> None:
        upload = await self.backend.receive(blob, len(content))
        await upload.write([content[:100], content[100:]])
        await upload.publish(flags)

    async def content(self, blob: BlobName) -> bytes:
        stored = await self.backend.read(blob)
        try:
            return await self.read(stored)
        finally:
            stored.close()

    async def read(self, stored: IStoredBlob, start: int = 0, end: int | None = None) -> bytes:
        """Read a part of an open blob."""
        consumer = Consumer()
        await stored.write_to(consumer, start, end)
        self.assertIsNone(consumer.producer)
        return consumer.content

    async def fails(self, kind: type[Exception], deferred: Deferred[Any]) -> None:
        await self.assertFailure(deferred, kind)

    async def test_interfaces(self) -> None:
        verifyObject(IBlobsBackend, self.backend)
        upload = await self.backend.receive(name("a"))
        verifyObject(IUpload, upload)
        await upload.write([sealed()])
        await upload.publish()
        stored = await self.backend.read(name("a"))
        verifyObject(IStoredBlob, stored)
        stored.close()

    async def test_upload_and_read(self) -> None:
        await self.upload(name("a"), sealed("a"))
        stored = await self.backend.read(name("a"))
        self.assertEqual((stored.size, stored.tag), (800, sealed("a")[-16:]))
        self.assertEqual(await self.read(stored, 10, 20), sealed("a")[10:20])
        stored.close()
        stored.close()

    async def test_every_length_of_an_id(self) -> None:
        ids = ["x" * length for length in LENGTHS]
        for blob_id in ids:
            await self.upload(name(blob_id), sealed(blob_id))
            await self.backend.set_flags(name(blob_id), [Flags.FAILED])
        self.assertEqual(await self.listed("alice"), sorted(ids))
        self.assertEqual(await self.listed("alice", flag=Flags.FAILED), sorted(ids))
        for blob_id in ids:
            self.assertEqual(await self.content(name(blob_id)), sealed(blob_id))
            self.assertEqual(await self.backend.get_flags(name(blob_id)), [Flags.FAILED])
            await self.backend.delete(name(blob_id))
        self.assertEqual(await self.listed("alice"), [])
        self.assertEqual(await self.listed("alice", deleted=True), sorted(ids))

    async def test_read_some(self) -> None:
        names = [name(blob_id) for blob_id in "abcda"]
        for it in names[:3]:
            await self.upload(it, sealed(it.blob_id))
        for most, number in ((1, 1), (800, 1), (801, 2), (1600, 2), (1601, 3), (2401, 5)):
            found = await self.backend.read_some(names, most)
            self.assertEqual(len(found), number)
            for it, stored in zip(names, found, strict=False):
                if it == name("d"):
                    self.assertIsNone(stored)
                    continue
                assert stored is not None
                verifyObject(IStoredBlob, stored)
                content = sealed(it.blob_id)
                self.assertEqual((stored.size, stored.tag), (800, content[-16:]))
                self.assertEqual((await self.read(stored), stored.content), (content, content))
                stored.close()

    async def test_read_some_that_came_in_pieces(self) -> None:
        """Nobody has to know how a blob was stored."""
        names = [name(blob_id) for blob_id in "abcd"]
        for it, size in zip(names, (800, LARGE, 800, LARGE), strict=True):
            upload = await self.backend.receive(it)
            await upload.write([sealed(it.blob_id, size)])
            await upload.publish()
        left = names
        while left:
            found = await self.backend.read_some(left, 10 * LARGE)
            for it, stored in zip(left, found, strict=False):
                assert stored is not None
                content = sealed(it.blob_id, stored.size)
                self.assertEqual(await self.read(stored), content)
                self.assertIn(stored.content, (None, content))
                stored.close()
            left = left[len(found) :]

    async def test_nothing_is_there(self) -> None:
        missing = name("a")
        await self.fails(BlobNotFoundError, self.backend.read(missing))
        self.assertEqual(await self.backend.read_some([missing, missing], 1000), [None, None])
        await self.fails(BlobNotFoundError, self.backend.delete(missing))
        await self.fails(BlobNotFoundError, self.backend.get_flags(missing))
        await self.fails(BlobNotFoundError, self.backend.set_flags(missing, []))
        self.assertEqual(await self.listed("alice"), [])
        self.assertEqual(await self.backend.count("nobody", query(deleted=True)), 0)

    async def test_a_name_is_taken_once(self) -> None:
        await self.upload(name("a"), sealed("first"))
        await self.fails(BlobAlreadyExistsError, self.backend.receive(name("a")))
        self.assertEqual(await self.content(name("a")), sealed("first"))

    async def test_of_two_uploads_at_once_one_succeeds(self) -> None:
        first = await self.backend.receive(name("a"))
        second = await self.backend.receive(name("a"))
        await second.write([sealed("second")])
        await first.write([sealed("first")])
        await first.publish()
        await self.fails(BlobAlreadyExistsError, second.publish([Flags.PENDING]))
        self.assertEqual(await self.content(name("a")), sealed("first"))
        self.assertEqual(await self.backend.get_flags(name("a")), [])

    async def test_an_upload_is_hidden_until_it_is_published(self) -> None:
        upload = await self.backend.receive(name("a"))
        await upload.write([sealed()])
        self.assertEqual(upload.size, 800)
        await self.fails(BlobNotFoundError, self.backend.read(name("a")))
        self.assertEqual(await self.listed("alice"), [])
        await upload.discard()
        await upload.discard()
        await self.upload(name("a"), sealed())

    async def test_the_same_id_elsewhere_is_another_blob(self) -> None:
        places = [name("a"), name("a", namespace="mail"), name("a", user="bob")]
        for number, place in enumerate(places):
            await self.upload(place, sealed(str(number)))
        await self.backend.delete(places[1])
        self.assertEqual(await self.content(places[0]), sealed("0"))
        self.assertEqual(await self.content(places[2]), sealed("2"))
        self.assertEqual(await self.listed("alice", namespace="mail"), [])
        self.assertEqual(await self.listed("bob"), ["a"])

    async def test_order(self) -> None:
        for blob_id in "bca":
            await self.upload(name(blob_id), sealed())
        for order, expected in (
            (None, "abc"), ("date", "bca"), ("+date", "bca"), ("-date", "acb")
        ):  # fmt: skip
            listed = await self.listed("alice", order_by=order)
            self.assertEqual("".join(listed), expected)

    async def test_flags(self) -> None:
        await self.upload(name("a"), sealed(), (Flags.PENDING,))
        await self.upload(name("b"), sealed())
        self.assertEqual(await self.backend.get_flags(name("a")), [Flags.PENDING])
        self.assertEqual(await self.backend.get_flags(name("b")), [])
        await self.backend.set_flags(name("b"), [Flags.PROCESSED, Flags.FAILED])
        self.assertEqual(await self.backend.get_flags(name("b")), [Flags.PROCESSED, Flags.FAILED])
        self.assertEqual(await self.listed("alice", flag=Flags.FAILED), ["b"])
        self.assertEqual(await self.backend.count("alice", query(flag=Flags.PENDING)), 1)
        await self.backend.set_flags(name("a"), [])
        self.assertEqual(await self.backend.count("alice", query(flag=Flags.PENDING)), 0)

    async def test_a_blob_made_again_has_a_tombstone_and_no_flags(self) -> None:
        await self.upload(name("a"), sealed("old"), (Flags.FAILED,))
        await self.backend.delete(name("a"))
        await self.upload(name("a"), sealed("new"))
        self.assertEqual(await self.content(name("a")), sealed("new"))
        self.assertEqual(await self.backend.get_flags(name("a")), [])
        self.assertEqual(await self.listed("alice"), ["a"])
        self.assertEqual(await self.listed("alice", deleted=True), ["a"])
        self.assertEqual(await self.backend.count("alice", query(deleted=True)), 1)
        await self.backend.delete(name("a"))
        self.assertEqual(await self.listed("alice", deleted=True), ["a"])

    async def test_a_tombstone_carries_no_flags(self) -> None:
        await self.upload(name("a"), sealed(), (Flags.FAILED,))
        await self.backend.delete(name("a"))
        listed = await self.listed("alice", deleted=True, flag=Flags.FAILED)
        self.assertEqual(listed, [])

    async def test_deleted_under_a_reader(self) -> None:
        await self.upload(name("a"), sealed("a"))
        stored = await self.backend.read(name("a"))
        await self.backend.delete(name("a"))
        self.assertEqual(await self.read(stored), sealed("a"))
        stored.close()

    # -- large blobs -------------------------------------------------------------------

    async def put_large(self, blob: BlobName) -> bytes:
        """Upload a blob of several chunks."""
        content = b"".join(sealed(str(number), 100_000) for number in range(10))
        await self.upload(blob, content)
        return content

    async def test_parts_of_a_large_one(self) -> None:
        """Any part can be read, and comes in pieces of at most 256 KiB."""
        content = await self.put_large(name("a"))
        stored = await self.backend.read(name("a"))
        self.assertEqual((stored.size, stored.tag), (LARGE, content[-16:]))
        chunk = 256 * 1024
        for start, end in (
            (0, LARGE), (0, 1), (chunk - 1, chunk + 1), (chunk, 2 * chunk), (999_999, LARGE), (5, 5)
        ):  # fmt: skip
            consumer = Consumer()
            await stored.write_to(consumer, start, end)
            self.assertEqual(consumer.content, content[start:end])
            self.assertLessEqual(max(map(len, consumer.pieces), default=0), chunk)
        stored.close()

    async def test_a_consumer_that_pauses(self) -> None:
        """Nothing is written to it until it wants more."""
        content = await self.put_large(name("a"))
        stored = await self.backend.read(name("a"))
        consumer = Consumer(most=1)
        writing = stored.write_to(consumer)
        await consumer.paused
        # Whatever the disk was asked for has come meanwhile.
        await self.backend.get_flags(name("a"))
        self.assertEqual(len(consumer.pieces), 1)
        assert consumer.producer is not None
        consumer.producer.resumeProducing()
        await writing
        self.assertEqual(consumer.content, content)
        stored.close()

    async def test_a_consumer_that_stops(self) -> None:
        """It is told no more, and has no producer any more."""
        await self.put_large(name("a"))
        stored = await self.backend.read(name("a"))
        consumer = Consumer(most=1)
        writing = stored.write_to(consumer)
        await consumer.paused
        assert consumer.producer is not None
        consumer.producer.stopProducing()
        await self.fails(CancelledError, writing)
        self.assertIsNone(consumer.producer)
        stored.close()

    async def test_writing_that_is_cancelled(self) -> None:
        """Likewise."""
        await self.put_large(name("a"))
        stored = await self.backend.read(name("a"))
        consumer = Consumer(most=1)
        writing = stored.write_to(consumer)
        await consumer.paused
        writing.cancel()
        await self.fails(CancelledError, writing)
        self.assertIsNone(consumer.producer)
        stored.close()

    async def test_closed_while_it_is_written(self) -> None:
        """What is left is not written, and the consumer has no producer any more."""
        await self.put_large(name("a"))
        stored = await self.backend.read(name("a"))
        consumer = Consumer(most=1)
        writing = stored.write_to(consumer)
        await consumer.paused
        stored.close()
        assert consumer.producer is not None
        consumer.producer.resumeProducing()
        await self.fails(ClosedError, writing)
        self.assertIsNone(consumer.producer)

    async def test_a_large_one_deleted_under_a_reader(self) -> None:
        """It can be read to its end, and its id can be used again meanwhile."""
        content = await self.put_large(name("a"))
        stored = await self.backend.read(name("a"))
        await self.backend.delete(name("a"))
        await self.fails(BlobNotFoundError, self.backend.read(name("a")))
        await self.upload(name("a"), sealed("new"))
        self.assertEqual(await self.read(stored), content)
        stored.close()
        self.assertEqual(await self.content(name("a")), sealed("new"))

    async def test_large_ones_among_small_ones(self) -> None:
        """Some are read until the first large one."""
        await self.backend.store([(name(it), sealed(it)) for it in "ab"])
        content = await self.put_large(name("large"))
        names = [name(it) for it in ("a", "missing", "large", "b")]
        found = await self.backend.read_some(names, 10**9)
        self.assertEqual([it and it.size for it in found], [800, None, LARGE])
        large = found[2]
        assert large is not None
        self.assertIsNone(large.content)
        self.assertEqual(await self.read(large), content)
        for it in filter(None, found):
            it.close()

    async def test_the_size_need_not_be_known(self) -> None:
        """Bytes are taken as they come."""
        upload = await self.backend.receive(name("a"))
        for number in range(4):
            await upload.write([sealed(str(number), 100_000), memoryview(b"x")])
        self.assertEqual(upload.size, 400_004)
        await upload.publish([Flags.FAILED])
        content = await self.content(name("a"))
        self.assertEqual(content, b"".join(sealed(str(it), 100_000) + b"x" for it in range(4)))

    # -- many at once --------------------------------------------------------------------

    async def test_store_many(self) -> None:
        """Each is judged by itself."""
        await self.upload(name("b"), sealed("old"))
        blobs = [(name(it), sealed(it)) for it in "abca"]
        outcomes = await self.backend.store(blobs)
        kinds = [type(it) for it in outcomes]
        taken = BlobAlreadyExistsError
        self.assertEqual(kinds, [type(None), taken, type(None), taken])
        self.assertEqual(await self.listed(), ["a", "b", "c"])
        self.assertEqual(await self.content(name("b")), sealed("old"))

    async def test_one_winner(self) -> None:
        """Of uploads and stores of one name at once, one is there, whole; nothing else is told."""
        contents = [sealed(str(number), 900) for number in range(12)]

        async def put(number: int) -> bytes | None:
            try:
                if number % 2:
                    (error,) = await self.backend.store([(name("a"), contents[number])])
                    return contents[number] if error is None else None
                await self.upload(name("a"), contents[number])
            except BlobAlreadyExistsError:
                return None
            return contents[number]

        puts = [Deferred.fromCoroutine(put(number)) for number in range(12)]
        (winner,) = [it for it in await gatherResults(puts) if it is not None]
        self.assertEqual(await self.content(name("a")), winner)

    async def test_a_long_list(self) -> None:
        """Many pages make the whole list."""
        ids = [f"{number:05}" for number in range(4500)]
        for start in range(0, 4500, 500):
            await self.backend.store([(name(it), b"x") for it in ids[start : start + 500]])
        pages = [page async for page in self.backend.list("alice", query())]
        self.assertGreater(len(pages), 1)
        self.assertEqual([it for page in pages for it in page], ids)
        self.assertEqual(await self.backend.count("alice", query()), 4500)

    async def test_a_list_that_is_not_read_to_its_end(self) -> None:
        """Nothing is left of it."""
        for start in range(0, 6000, 500):
            ids = [f"{start + number:05}" for number in range(500)]
            await self.backend.store([(name(it), b"x") for it in ids])
        pages = self.backend.list("alice", query())
        async for page in pages:
            self.assertEqual(page[0], "00000")
            break
        await pages.aclose()
