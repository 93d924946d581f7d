"""A real object store: what is in it, and what becomes of what it is doing when it dies."""

from __future__ import annotations

import random
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase

from blobman.errors import ClosedError, StoreError
from blobman.server.storage.interface import DamagedError, UnavailableError
from blobman.server.storage.payloads.interface import IPayload
from blobman.server.storage.payloads.s3 import Bucket, S3Payloads, writing
from blobman.server.storage.payloads.s3.client import PIECE, Client, Request
from blobman.server.storage.payloads.s3.parts import begin_parts, find_begun
from blobman.server.storage.payloads.s3.writing import COLLECTED, MIB

from ....proxy import Fault, Proxy
from ...objectstore import make_bucket, object_store, payloads, signer

LARGE = 3 * MIB + 4711

PART = 5 * MIB
"""No part but the last may be smaller."""


class StoreCase(TestCase):
    """Tests with a place of their own in the store."""

    async def setUp(self) -> None:  # type: ignore[override]
        self.store = object_store()
        self.bucket = self.make_bucket()
        self.chance = random.Random(1)
        self.payloads = await self.opened(self.bucket)

    def make_bucket(self) -> Bucket:
        return self.store.bucket()

    async def opened(self, bucket: Bucket, **options: Any) -> S3Payloads:
        opened = payloads(bucket, **options)
        await opened.open()
        self.addCleanup(opened.close)
        return opened

    def new_key(self) -> str:
        return self.chance.randbytes(16).hex()

    async def write(
        self, content: bytes, size: int | None = None, into: S3Payloads | None = None
    ) -> str:
        """Write a payload in odd pieces."""
        key = self.new_key()
        writer = await (into or self.payloads).create(key, size)
        for start in range(0, len(content), 700_001):
            piece = content[start : start + 700_001]
            await writer.write([piece[:4], b"", memoryview(piece)[4:]])
        await writer.commit()
        return key

    async def read(self, key: str, size: int) -> bytes:
        payload = await self.payloads.get(key)
        try:
            payload.read_ahead(0, size)
            steps = range(0, size, PIECE)
            return b"".join([await payload.read(it, min(it + PIECE, size)) for it in steps])
        finally:
            payload.close()

    async def begun(self, prefix: str = "") -> list[str]:
        """List the objects whose parts are there."""
        client = Client(reactor, self.bucket, signer=signer(self.bucket))
        self.addCleanup(client.close)
        return [it.name async for it in find_begun(client, prefix)]


class WritingTests(StoreCase):
    async def test_of_every_size(self) -> None:
        for size in (0, 1, COLLECTED, COLLECTED + 1, LARGE):
            content = self.chance.randbytes(size)
            for announced in (size, None):
                key = await self.write(content, announced)
                self.assertEqual(await self.read(key, size), content)
        self.assertEqual(await self.begun(), [])

    async def test_in_parts_since_the_size_is_not_known(self) -> None:
        self.patch(writing, "SMALL_PART", PART)
        self.patch(writing, "DOUBLED_AFTER", 2)
        for size in (PART, PART + 1, 2 * PART, 3 * PART + 5):
            content = self.chance.randbytes(size)
            self.assertEqual(await self.read(await self.write(content), size), content)
        self.assertEqual(await self.begun(), [])

    async def test_in_parts_since_it_is_too_large(self) -> None:
        self.patch(writing, "WHOLE", MIB)
        self.patch(writing, "LARGE_PART", PART + 1)
        for size in (PART + 1, 2 * PART + 2, 2 * PART + 3):
            content = self.chance.randbytes(size)
            self.assertEqual(await self.read(await self.write(content, size), size), content)
        self.assertEqual(await self.begun(), [])

    async def test_more_parts_than_an_object_can_have(self) -> None:
        self.patch(writing, "SMALL_PART", MIB)
        self.patch(writing, "MOST_PARTS", 2)
        writer = await self.payloads.create(key := self.new_key())
        await writer.write([bytes(2 * MIB)])
        await self.assertFailure(writer.write([b"more"]), StoreError)
        await writer.discard()
        self.assertEqual(await self.begun(), [])
        await self.assertFailure(self.payloads.get(key), DamagedError)

    async def test_parts_are_few_enough(self) -> None:
        terabytes = 5 * 1024**4
        for size in (writing.WHOLE + 1, terabytes):
            writer = writing.Writer(None, "a", size, None)  # type: ignore[arg-type]
            self.assertLessEqual(-(-size // writer._part_size()), writing.MOST_PARTS)

    async def test_nothing_is_left_of_what_is_given_up(self) -> None:
        self.patch(writing, "SMALL_PART", MIB)
        for announced in (None, LARGE):
            writer = await self.payloads.create(key := self.new_key(), announced)
            await writer.write([bytes(2 * MIB + 1)])
            await writer.discard()
            await self.assertFailure(self.payloads.get(key), DamagedError)
        self.assertEqual(await self.begun(), [])

    async def test_what_is_cancelled(self) -> None:
        self.patch(writing, "SMALL_PART", MIB)
        for announced in (None, LARGE):
            writer = await self.payloads.create(key := self.new_key(), announced)
            for pieces in ([bytes(LARGE)], [b"x"]):
                working = writer.write(pieces)
                if working.called:
                    continue
                working.cancel()
                await self.assertFailure(working, CancelledError)
                break
            await writer.discard()
            self.assertEqual(await self.payloads.remove([key]), {})
            await self.assertFailure(self.payloads.get(key), DamagedError)
        self.assertEqual(await self.begun(), [])

    async def test_parts_of_who_was_killed_go_with_its_key(self) -> None:
        client = Client(reactor, self.bucket, signer=signer(self.bucket))
        self.addCleanup(client.close)
        killed, others = self.new_key(), self.new_key()
        for key in (killed, others):
            await begin_parts(client, key)
        for keys in ([killed], [self.new_key(), killed]):
            self.assertEqual(await self.payloads.remove(keys), {})
            self.assertEqual(await self.begun(), [others])
            await begin_parts(client, killed)
        self.assertEqual(await self.payloads.remove([others, killed]), {})
        self.assertEqual(await self.begun(), [])


class PrivateWritingTests(WritingTests):
    """The same over TLS, where content is not signed."""

    def make_bucket(self) -> Bucket:
        return self.store.private_bucket()

    async def test_an_authority_that_is_not_trusted(self) -> None:
        strangers = self.store.bucket(scheme="https", host=self.store.private_address)
        stranger = await self.opened(strangers)
        failure: Any = await self.assertFailure(stranger.read_mark(), UnavailableError)
        self.assertIn("certificate", str(failure))


class StoresTests(StoreCase):
    async def test_a_bucket_that_is_not_there(self) -> None:
        missing = await self.opened(self.store.bucket(name="missing"))
        for asked in (
            missing.read_mark(),
            missing.create(self.new_key()).addCallback(lambda it: it.commit()),
            missing.get(self.new_key()),
            missing.get(self.new_key(), 10),
            missing.check_writing(),
        ):
            await self.assertFailure(asked, UnavailableError)

    async def test_another_bucket_in_its_place(self) -> None:
        """Nothing in it is said to be lost."""
        await self.payloads.write_mark("mark")
        missing = self.new_key()
        await self.assertFailure(self.payloads.get(missing), DamagedError)
        other = self.store.bucket(name="others")
        await make_bucket(other)
        self.payloads._client.bucket = other
        await self.assertFailure(self.payloads.get(missing), UnavailableError)
        await self.assertFailure(self.payloads.check_writing(), UnavailableError)

    async def test_who_may_not_come_in(self) -> None:
        stranger = await self.opened(self.bucket, signer=signer(self.bucket, "another-secret"))
        failure: Any = await self.assertFailure(stranger.read_mark(), UnavailableError)
        self.assertIn("SignatureDoesNotMatch", str(failure))
        self.assertNotIn("another-secret", repr(failure))

    async def test_whether_it_can_be_written_is_tried_now_and_then(self) -> None:
        clock = Clock()
        opened = await self.opened(self.bucket, clock=clock)
        asked: list[str] = []
        opened.observers.append(lambda it: asked.append(it.operation))
        for _ in range(3):
            await opened.check_writing()
        self.assertEqual(asked, ["get", "put", "get", "get"])
        clock.advance(60)
        await opened.check_writing()
        self.assertEqual(asked[4:], ["get", "put"])

    async def test_closed(self) -> None:
        await self.payloads.close()
        await self.payloads.close()
        calls: list[Deferred[Any]] = [
            self.payloads.get("a"),
            self.payloads.create("a"),
            self.payloads.remove(["a"]),
            self.payloads.read_mark(),
        ]
        for asked in calls:
            await self.assertFailure(asked, ClosedError)

    async def test_closed_under_a_reader(self) -> None:
        key = await self.write(self.chance.randbytes(LARGE))
        payload = await self.payloads.get(key)
        payload.read_ahead(0, LARGE)
        reading = [payload.read(0, PIECE), payload.read(PIECE, 2 * PIECE)]
        payload.close()
        for each in reading:
            await self.assertFailure(each, ClosedError)
        await self.assertFailure(payload.read(0, 1), ClosedError)


class TroubleTests(StoreCase):
    """The way to the store is cut, or stalls; the store is killed, or stands still."""

    async def proxied(self, clock: Any = None) -> S3Payloads:
        self.proxy = Proxy(int(self.store.address.rpartition(":")[2]))
        await self.proxy.start()
        self.addCleanup(self.proxy.stop)
        bucket = self.store.bucket(prefix=self.bucket.prefix, host=f"127.0.0.1:{self.proxy.port}")
        return await self.opened(bucket, jitter=lambda _: 0, clock=clock)

    async def test_an_upload_that_is_cut(self) -> None:
        """Nothing of it counts."""
        proxied = await self.proxied()
        for after in (1000, MIB, LARGE):
            # The request that asks whether the key is free has a connection of its own.
            self.proxy.faults = [Fault(after, upward=True)]
            key = self.new_key()
            writing = Deferred.fromCoroutine(self.write_slowly(proxied, key))
            await self.assertFailure(writing, UnavailableError)
            await self.assertFailure(self.payloads.get(key), DamagedError)

    async def write_slowly(self, into: S3Payloads, key: str, size: int = LARGE) -> None:
        writer = await into.create(key, size)
        try:
            for start in range(0, size, PIECE):
                await writer.write([bytes(min(PIECE, size - start))])
        except BaseException:
            await writer.discard()
            raise
        await writer.commit()

    async def test_a_download_that_is_cut(self) -> None:
        """It goes on where it was cut."""
        content = self.chance.randbytes(LARGE)
        key = await self.write(content)
        proxied = await self.proxied()
        self.proxy.faults = [Fault(after, upward=False) for after in (100, 1000, MIB, MIB)]
        self.payloads = proxied
        self.assertEqual(await self.read(key, LARGE), content)
        self.assertEqual(self.proxy.strikes, ["cut"] * 4)

    async def test_killed_amid_a_download(self) -> None:
        content = self.chance.randbytes(8 * LARGE)
        key = await self.write(content, len(content))
        payload = await (await self.opened(self.bucket, jitter=lambda _: 0)).get(key)
        payload.read_ahead(0, len(content))
        await payload.read(0, PIECE)
        self.addCleanup(self.store.start)
        self.store.kill()
        await self.assertFailure(self.to_the_end(payload, PIECE), UnavailableError)
        self.store.start()
        self.assertEqual(await payload.read(PIECE, PIECE + 5), content[PIECE : PIECE + 5])
        payload.close()

    def to_the_end(self, payload: IPayload, start: int) -> Deferred[None]:
        async def read() -> None:
            for place in range(start, payload.size - PIECE, PIECE):
                await payload.read(place, place + PIECE)

        return Deferred.fromCoroutine(read())

    async def test_killed_amid_an_upload(self) -> None:
        for announced in (LARGE, None):
            writer = await self.payloads.create(key := self.new_key(), announced)
            await writer.write([bytes(LARGE // 2)])
            self.addCleanup(self.store.start)
            self.store.kill()
            opened = await self.opened(self.bucket, jitter=lambda _: 0)
            await self.assertFailure(opened.read_mark(), UnavailableError)

            async def finish(writer: Any = writer) -> None:
                await writer.write([bytes(LARGE - LARGE // 2)])
                await writer.commit()

            if announced:
                await self.assertFailure(Deferred.fromCoroutine(finish()), UnavailableError)
            await writer.discard()
            self.store.start()
            await self.assertFailure(self.payloads.get(key), DamagedError)

    async def test_it_stands_still(self) -> None:
        clock = Clock()
        opened = await self.opened(self.bucket, clock=clock)
        # More than all that may be on the way.
        key = await self.write(bytes(8 * LARGE), 8 * LARGE, into=opened)
        payload = await opened.get(key)
        payload.read_ahead(0, 8 * LARGE)
        await payload.read(0, PIECE)
        writer = await opened.create(late := self.new_key(), LARGE)
        await writer.write([bytes(PIECE)])
        self.addCleanup(self.store.go_on)
        self.store.stop()

        async def write() -> None:
            await writer.write([bytes(LARGE - PIECE)])
            await writer.commit()

        for working in (
            opened.read_mark(),
            opened.create(self.new_key(), 1),
            self.to_the_end(payload, PIECE),
            Deferred.fromCoroutine(write()),
            opened.remove([key]).addCallback(self.raise_first),
        ):
            while not working.called:
                clock.advance(1)
                await deferLater(reactor, 0)
            failure: Any = await self.assertFailure(working, UnavailableError)
            self.assertIn("nothing moved for 20 seconds", str(failure))
        self.store.go_on()
        await self.payloads.read_mark()
        await writer.discard()
        self.assertEqual(await self.payloads.remove([late]), {})
        await self.assertFailure(self.payloads.get(late), DamagedError)

    @staticmethod
    def raise_first(left: dict[str, StoreError]) -> None:
        for error in left.values():
            raise error


class LargeTests(StoreCase):
    async def test_removed_by_the_hundred(self) -> None:
        client = Client(reactor, self.bucket, signer=signer(self.bucket))
        self.addCleanup(client.close)
        keys = [self.new_key() for _ in range(150)]
        for key in keys:
            await client.ask(Request("put", "PUT", key), b"x")
        asked: list[str] = []
        self.payloads.observers.append(lambda it: asked.append(it.operation))
        self.assertEqual(await self.payloads.remove([*keys, self.new_key()]), {})
        self.assertEqual(asked, ["delete", "list"])
        for key in keys[::50]:
            await self.assertFailure(self.payloads.get(key), DamagedError)
