"""What every remote does, whatever the server is made of."""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import DeferredList
from zope.interface.verify import verifyObject

from blobman import (
    BlobAlreadyExistsError,
    BlobNotFoundError,
    CursorExpiredError,
    Flags,
    InvalidBlob,
    InvalidFlagsError,
    SyncStatus,
)
from blobman.crypto import Method, Preamble, Scheme, check_secret
from blobman.interfaces import IPayload, IRemote, IRemoteStream
from blobman.model import FIRST_CURSOR, ChangesPage, RemoteChange
from blobman.remote import BlobsClient, BlobsStream
from blobman.testing import MemoryStore

from ..support import SECRET, content

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as Base
else:
    Base = object

SIZES = (0, 1, 4095, 4096, 100_000, 3_000_000)
CHANCE = random.Random(1)


class RemoteContract(Base):
    """Tests for any remote; the test case that it is mixed into makes ``remote`` and ``stream``."""

    remote: BlobsClient
    stream: BlobsStream
    secret = check_secret(SECRET)

    async def payload(self, blob_id: str, data: bytes, sealed: bool = True) -> IPayload:
        preamble = b""
        if sealed:
            preamble = Preamble.for_blob(blob_id, len(data), CHANCE.randbytes(16), 0).encode()
        store = MemoryStore()
        await store.put(blob_id, io.BytesIO(data), len(data), preamble=preamble)
        payload = await store.open_payload(blob_id)
        assert payload is not None
        return payload

    async def upload(self, blob_id: str, data: bytes, namespace: str = "") -> IPayload:
        payload = await self.payload(blob_id, data)
        await self.remote.upload(blob_id, payload, namespace)
        return payload

    async def download(self, blob_id: str, namespace: str = "") -> bytes:
        store = MemoryStore()
        await store.update_sync_status(blob_id, SyncStatus.PENDING_DOWNLOAD, namespace)
        await self.remote.download(blob_id, store.stage(blob_id, namespace), namespace)
        file = await store.get(blob_id, namespace)
        assert file is not None
        return file.read()

    def test_interfaces(self) -> None:
        verifyObject(IRemote, self.remote)
        verifyObject(IRemoteStream, self.stream)

    async def test_up_and_down(self) -> None:
        for size in SIZES:
            await self.upload(f"x{size}", content(size))
            self.assertEqual(await self.download(f"x{size}"), content(size))

    async def test_namespaces(self) -> None:
        await self.upload("x", b"default")
        await self.upload("x", b"mail", "mail")
        self.assertEqual(await self.download("x"), b"default")
        self.assertEqual(await self.download("x", "mail"), b"mail")
        self.assertEqual(await self.remote.list("mail"), ["x"])
        self.assertEqual(await self.remote.list("other"), [])

    async def test_missing(self) -> None:
        payload = await self.payload("x", b"data")
        for asking in (
            self.remote.get_tag("x"),
            self.remote.compare("x", payload),
            self.remote.delete("x"),
            self.remote.get_flags("x"),
            self.remote.set_flags("x", ["PENDING"]),
            self.remote.download("x", MemoryStore().stage("x")),
        ):
            with self.assertRaises(BlobNotFoundError):
                await asking

    async def test_there_already(self) -> None:
        ours = await self.upload("x", b"first")
        for data in (b"second", content(3_000_000)):
            with self.assertRaises(BlobAlreadyExistsError):
                await self.remote.upload("x", await self.payload("x", data))
        self.assertEqual(await self.download("x"), b"first")
        self.assertEqual(await self.remote.compare("x", ours), await self.remote.get_tag("x"))
        self.assertIsNone(await self.remote.compare("x", await self.payload("x", b"first")))

    async def test_one_that_nothing_is_known_of_but_its_content(self) -> None:
        for size in SIZES:
            blob_id, data = f"x{size}", content(size)
            await self.upload(blob_id, data)
            for other in (data, data + b"x", bytes(size), content(size + 4096)):
                payload = await self.payload(blob_id, other, sealed=False)
                same = await self.remote.compare(blob_id, payload)
                expected = await self.remote.get_tag(blob_id) if other == data else None
                self.assertEqual(same, expected, size)

    async def test_two_at_once(self) -> None:
        payloads = [await self.payload("x", content(200_000, str(n))) for n in range(2)]
        uploads = [self.remote.upload("x", payload) for payload in payloads]
        results = dict(await DeferredList(uploads, consumeErrors=True))
        self.assertEqual(set(results), {True, False})
        failure: Any = results[False]
        self.assertIs(failure.type, BlobAlreadyExistsError)

    async def test_flags(self) -> None:
        await self.upload("x", b"data")
        await self.upload("y", b"data")
        await self.remote.set_flags("x", [Flags.PENDING, Flags.FAILED])
        self.assertEqual(await self.remote.get_flags("x"), ["PENDING", "FAILED"])
        self.assertEqual(await self.remote.list(filter_flag="FAILED"), ["x"])
        self.assertEqual(await self.remote.count(filter_flag="FAILED"), {"count": 1})
        self.assertRaises(InvalidFlagsError, self.remote.set_flags, "x", ["SHINY"])

    async def test_deleted(self) -> None:
        await self.upload("x", b"data")
        await self.remote.delete("x")
        self.assertEqual(await self.remote.list(), [])
        self.assertEqual(await self.remote.list(deleted=True), ["x"])
        self.assertEqual(await self.remote.count(deleted=True), {"count": 1})
        await self.upload("x", b"again")
        self.assertEqual(await self.remote.list(), ["x"])
        self.assertEqual(await self.remote.list(deleted=True), ["x"])

    async def test_order(self) -> None:
        for blob_id in "cab":
            await self.upload(blob_id, b"data")
        self.assertEqual(sorted(await self.remote.list()), ["a", "b", "c"])
        self.assertEqual(await self.remote.list(order_by="date"), ["c", "a", "b"])
        self.assertEqual(await self.remote.list(order_by="-date"), ["b", "a", "c"])

    async def changed(self, cursor: str, namespace: str = "", **options: int) -> ChangesPage:
        page = await self.remote.changes(cursor, namespace, **options)
        assert isinstance(page, ChangesPage)
        return page

    async def test_changes(self) -> None:
        first = await self.changed(FIRST_CURSOR)
        self.assertEqual((first.changes, first.more), ([], False))
        for blob_id in "abc":
            await self.upload(blob_id, b"data")
        await self.remote.set_flags("a", [Flags.PENDING])
        await self.remote.delete("b")
        page = await self.changed(first.cursor)
        self.assertEqual([it.blob_id for it in page.changes], ["c", "a", "b"])
        there = page.changes[1]
        self.assertEqual(there.tag, await self.remote.get_tag("a"))
        self.assertEqual((there.size, there.flags), (757, (Flags.PENDING,)))
        self.assertTrue(page.changes[2].is_deleted)
        self.assertEqual(await self.changed(page.cursor), page._replace(changes=[]))
        # From the start, what is there, in pages.
        begun = await self.changed(FIRST_CURSOR, limit=1)
        self.assertEqual(([it.blob_id for it in begun.changes], begun.more), (["c"], True))
        rest = await self.changed(begun.cursor)
        self.assertEqual(([it.blob_id for it in rest.changes], rest.more), (["a"], False))

    async def external(self, blob_id: str, data: bytes) -> IPayload:
        """A blob that others sealed."""
        preamble = Preamble(Scheme.EXTERNAL, Method.PGP, 0, bytes(16), blob_id, "0", len(data))
        store = MemoryStore()
        await store.put(blob_id, io.BytesIO(data), len(data), preamble=preamble.encode())
        payload = await store.open_payload(blob_id)
        assert payload is not None
        return payload

    async def test_what_is_told_is_what_arrives(self) -> None:
        """A store takes nothing but what it was told of, by tag and size."""
        payloads = {f"x{size}": await self.payload(f"x{size}", content(size)) for size in SIZES}
        for size in (3, 100_000):
            payloads[f"e{size}"] = await self.external(f"e{size}", content(size))
        for blob_id, payload in payloads.items():
            tag = await self.remote.upload(blob_id, payload)
            self.assertEqual(tag, await self.remote.get_tag(blob_id))
        page = await self.changed(FIRST_CURSOR)
        for with_others in (False, True):
            store, ended = MemoryStore(), dict[str, object]()
            await store.apply_changes(page, FIRST_CURSOR)
            if with_others:
                await self.stream.download_many(list(payloads), store.stage, ended.__setitem__)
                self.assertEqual({type(it) for it in ended.values()}, {int})
            else:
                for blob_id in payloads:
                    await self.remote.download(blob_id, store.stage(blob_id))
            self.assertEqual(await store.get_sync_progress(), {"SYNCED": len(payloads)})

    async def test_another_than_what_was_told(self) -> None:
        await self.upload("x", b"data")
        for change in (RemoteChange("x", bytes(16), 757), RemoteChange("x", b"t" * 16, 757)):
            store, ended = MemoryStore(), dict[str, object]()
            await store.apply_changes(ChangesPage([change], "cursor", False), FIRST_CURSOR)
            with self.assertRaises(InvalidBlob):
                await self.remote.download("x", store.stage("x"))
            await self.stream.download_many(["x"], store.stage, ended.__setitem__)
            self.assertIsInstance(ended["x"], InvalidBlob)
            self.assertEqual(await store.get_sync_progress(), {"PENDING_DOWNLOAD": 1})

    async def test_waiting_for_changes(self) -> None:
        first = await self.changed(FIRST_CURSOR, "mail")
        waiting = self.remote.changes(first.cursor, "mail", wait=60)
        await self.upload("x", b"default")
        await self.upload("x", b"mail", "mail")
        page: Any = await waiting
        self.assertEqual([it.blob_id for it in page.changes], ["x"])

    async def test_cursors_that_expire(self) -> None:
        for cursor in ("elsewhere.1", "elsewhere.1.2"):
            with self.assertRaises(CursorExpiredError):
                await self.remote.changes(cursor)

    async def test_list_of_namespaces(self) -> None:
        self.assertEqual(await self.remote.namespaces(), {})
        await self.upload("x", b"default")
        await self.upload("x", b"mail", "mail")
        await self.upload("y", b"mail", "mail")
        self.assertEqual(await self.remote.namespaces(), {"": 1, "mail": 2})

    async def test_stream_up(self) -> None:
        await self.upload("old", b"data")
        payloads = [(f"x{size}", await self.payload(f"x{size}", content(size))) for size in SIZES]
        payloads.append(("old", await self.payload("old", b"other")))
        results = await self.stream.upload_many(payloads)
        self.assertEqual(results.pop("old").result, "exists")
        self.assertEqual({it.result for it in results.values()}, {"created"})
        tags = {f"x{size}": await self.remote.get_tag(f"x{size}") for size in SIZES}
        self.assertEqual({blob_id: it.tag for blob_id, it in results.items()}, tags)
        for size in SIZES:
            self.assertEqual(await self.download(f"x{size}"), content(size))
        self.assertEqual(await self.download("old"), b"data")

    async def fetch(self, *ids: str, namespace: str = "") -> tuple[MemoryStore, dict[str, object]]:
        store, ended = MemoryStore(), dict[str, object]()
        for blob_id in ids:
            await store.update_sync_status(blob_id, SyncStatus.PENDING_DOWNLOAD, namespace)
        await self.stream.download_many(list(ids), store.stage, ended.__setitem__, namespace)
        return store, ended

    async def test_stream_down(self) -> None:
        for size in SIZES:
            await self.upload(f"x{size}", content(size), "mail")
        store, ended = await self.fetch(
            "no", *(f"x{size}" for size in SIZES), "nor", namespace="mail"
        )
        for blob_id in ("no", "nor"):
            self.assertIsInstance(ended.pop(blob_id), BlobNotFoundError)
        self.assertEqual(ended, {f"x{size}": size + 753 for size in SIZES})
        for size in SIZES:
            file = await store.get(f"x{size}", "mail")
            assert file is not None
            self.assertEqual(file.read(), content(size))
        self.assertEqual(
            await store.get_sync_progress("mail"), {"SYNCED": len(SIZES), "PENDING_DOWNLOAD": 2}
        )

    async def test_stream_with_one_that_does_not_verify(self) -> None:
        await self.upload("a", content(100))
        # Sealed for another id, so it does not open under this one.
        await self.remote.upload("b", await self.payload("c", content(200_000)))
        await self.upload("d", content(100))
        store, ended = await self.fetch("a", "b", "d")
        self.assertIsInstance(ended.pop("b"), InvalidBlob)
        self.assertEqual(ended, {"a": 853, "d": 853})
        self.assertEqual(sorted(await store.list()), ["a", "d"])

    async def test_stream_with_one_that_is_too_large_for_it(self) -> None:
        await self.upload("a", content(100))
        await self.upload("b", content(5_000_000))
        await self.upload("c", content(100))
        _, ended = await self.fetch("a", "b", "c")
        self.assertEqual(ended, {"a": 853, "b": None})
        self.assertEqual(await self.download("c"), content(100))

    async def test_stream_of_what_is_here_already(self) -> None:
        await self.upload("x", b"data")
        store = MemoryStore()
        await store.update_sync_status("x", SyncStatus.PENDING_DELETE)
        ended = dict[str, object]()
        await self.stream.download_many(["x"], store.stage, ended.__setitem__)
        self.assertIsInstance(ended["x"], Exception)
        self.assertEqual(await store.get_sync_progress(), {"PENDING_DELETE": 1})
