"""What every backend has to do; run on the folder and on the one in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from blobman.errors import BlobAlreadyExistsError, BlobNotFoundError
from blobman.model import Flags
from blobman.protocol import ListQuery
from blobman.server.storage import BlobName, IBlobsBackend, IStoredBlob, IUpload

from .blobs import sealed

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as Base
else:
    Base = object

LENGTHS = (1, 2, 3, 4, 5, 6, 7, 8, *range(244, 255))


def name(blob_id: str, user: str = "alice", namespace: str = "default") -> BlobName:
    return BlobName(user, namespace, blob_id)


def query(**fields: Any) -> ListQuery:
    return ListQuery(**{"namespace": "default", **fields})


class BackendContract(Base):
    """Mixed into a TestCase that sets ``backend``, opened."""

    backend: IBlobsBackend

    async def upload(self, blob: BlobName, content: bytes, flags: tuple[Flags, ...] = ()) -> None:
        upload = await self.backend.receive(blob, len(content))
        await upload.write([content[:100], content[100:]])
        await upload.publish(flags)

    async def content(self, blob: BlobName) -> bytes:
        stored = await self.backend.read(blob)
        try:
            return await stored.read(0, stored.size)
        finally:
            stored.close()

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
        self.assertEqual(await stored.read(10, 20), sealed("a")[10:20])
        stored.close()
        stored.close()

    async def test_every_length_of_an_id(self) -> None:
        ids = ["x" * length for length in LENGTHS]
        for blob_id in ids:
            await self.upload(name(blob_id), sealed(blob_id))
            await self.backend.set_flags(name(blob_id), [Flags.FAILED])
        self.assertEqual(await self.backend.list("alice", query()), sorted(ids))
        self.assertEqual(await self.backend.list("alice", query(flag=Flags.FAILED)), sorted(ids))
        for blob_id in ids:
            self.assertEqual(await self.content(name(blob_id)), sealed(blob_id))
            self.assertEqual(await self.backend.get_flags(name(blob_id)), [Flags.FAILED])
            await self.backend.delete(name(blob_id))
        self.assertEqual(await self.backend.list("alice", query()), [])
        self.assertEqual(await self.backend.list("alice", query(deleted=True)), sorted(ids))

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
                self.assertEqual((await stored.read(0, 800), stored.content), (content, content))
                stored.close()

    async def test_nothing_is_there(self) -> None:
        missing = name("a")
        await self.fails(BlobNotFoundError, self.backend.read(missing))
        self.assertEqual(await self.backend.read_some([missing, missing], 1000), [None, None])
        await self.fails(BlobNotFoundError, self.backend.delete(missing))
        await self.fails(BlobNotFoundError, self.backend.get_flags(missing))
        await self.fails(BlobNotFoundError, self.backend.set_flags(missing, []))
        self.assertEqual(await self.backend.list("alice", query()), [])
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
        self.assertEqual(await self.backend.list("alice", query()), [])
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
        self.assertEqual(await self.backend.list("alice", query(namespace="mail")), [])
        self.assertEqual(await self.backend.list("bob", query()), ["a"])

    async def test_order(self) -> None:
        for blob_id in "bca":
            await self.upload(name(blob_id), sealed())
        for order, expected in (
            (None, "abc"), ("date", "bca"), ("+date", "bca"), ("-date", "acb")
        ):  # fmt: skip
            listed = await self.backend.list("alice", query(order_by=order))
            self.assertEqual("".join(listed), expected)

    async def test_flags(self) -> None:
        await self.upload(name("a"), sealed(), (Flags.PENDING,))
        await self.upload(name("b"), sealed())
        self.assertEqual(await self.backend.get_flags(name("a")), [Flags.PENDING])
        self.assertEqual(await self.backend.get_flags(name("b")), [])
        await self.backend.set_flags(name("b"), [Flags.PROCESSED, Flags.FAILED])
        self.assertEqual(await self.backend.get_flags(name("b")), [Flags.PROCESSED, Flags.FAILED])
        self.assertEqual(await self.backend.list("alice", query(flag=Flags.FAILED)), ["b"])
        self.assertEqual(await self.backend.count("alice", query(flag=Flags.PENDING)), 1)
        await self.backend.set_flags(name("a"), [])
        self.assertEqual(await self.backend.count("alice", query(flag=Flags.PENDING)), 0)

    async def test_a_blob_made_again_has_a_tombstone_and_no_flags(self) -> None:
        await self.upload(name("a"), sealed("old"), (Flags.FAILED,))
        await self.backend.delete(name("a"))
        await self.upload(name("a"), sealed("new"))
        self.assertEqual(await self.content(name("a")), sealed("new"))
        self.assertEqual(await self.backend.get_flags(name("a")), [])
        self.assertEqual(await self.backend.list("alice", query()), ["a"])
        self.assertEqual(await self.backend.list("alice", query(deleted=True)), ["a"])
        self.assertEqual(await self.backend.count("alice", query(deleted=True)), 1)
        await self.backend.delete(name("a"))
        self.assertEqual(await self.backend.list("alice", query(deleted=True)), ["a"])

    async def test_a_tombstone_carries_no_flags(self) -> None:
        await self.upload(name("a"), sealed(), (Flags.FAILED,))
        await self.backend.delete(name("a"))
        listed = await self.backend.list("alice", query(deleted=True, flag=Flags.FAILED))
        self.assertEqual(listed, [])

    async def test_deleted_under_a_reader(self) -> None:
        await self.upload(name("a"), sealed("a"))
        stored = await self.backend.read(name("a"))
        await self.backend.delete(name("a"))
        self.assertEqual(await stored.read(0, 800), sealed("a"))
        stored.close()

    async def test_closed_twice(self) -> None:
        under_way = self.backend.store([(name("a"), sealed())])
        first, second = self.backend.close(), self.backend.close()
        await second
        self.assertTrue(under_way.called and first.called)
        await self.backend.close()
