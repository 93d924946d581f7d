"""The contract on both backends, and what is the folder's own."""

from __future__ import annotations

import os
import stat

from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from blobman.errors import BlobAlreadyExistsError, ClosedError, StoreError
from blobman.model import Flags
from blobman.server.filesystem import FilesystemBackend
from blobman.server.layout import folder_of, sidecar
from blobman.server.memory import MemoryBackend
from blobman.server.storage import BlobName

from .blobs import sealed
from .contract import BackendContract, name, query


class MemoryTests(BackendContract, TestCase):
    def setUp(self) -> None:
        self.backend = MemoryBackend()


class FilesystemTests(BackendContract, TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        self.root = self.mktemp()
        self.backend = FilesystemBackend(self.root)
        await self.backend.open()
        self.addCleanup(lambda: self.backend.close())

    def path(self, blob: BlobName, suffix: str = "") -> str:
        beside = sidecar(blob.blob_id, suffix) if suffix else blob.blob_id
        return os.path.join(folder_of(self.root, blob), beside)

    def all_files(self) -> list[str]:
        return [
            os.path.relpath(os.path.join(folder, file), self.root)
            for folder, _, files in os.walk(self.root)
            for file in files
            if not folder.endswith(".blobman")
        ]

    async def test_soledads_layout(self) -> None:
        await self.upload(name("abcdefgh", namespace="mail"), sealed(), (Flags.PENDING,))
        await self.upload(name("ab"), sealed())
        await self.backend.delete(name("ab"))
        self.assertEqual(
            sorted(self.all_files()),
            [
                "alice/default/a/ab/ab/ab.deleted",
                "alice/mail/a/abc/abcdef/abcdefgh",
                "alice/mail/a/abc/abcdef/abcdefgh.flags",
            ],
        )

    async def test_modes(self) -> None:
        await self.upload(name("a"), sealed(), (Flags.PENDING,))
        for folder, folders, files in os.walk(self.root):
            for entry in folders:
                mode = os.stat(os.path.join(folder, entry)).st_mode
                self.assertEqual(stat.S_IMODE(mode), 0o700, entry)
            for entry in files:
                mode = os.stat(os.path.join(folder, entry)).st_mode
                self.assertEqual(stat.S_IMODE(mode), 0o600, entry)

    async def test_nothing_is_left_in_staging(self) -> None:
        await self.upload(name("a"), sealed(), (Flags.PENDING,))
        second = await self.backend.receive(name("b"))
        third = await self.backend.receive(name("b"))
        await second.write([sealed()])
        await second.publish()
        await self.fails(BlobAlreadyExistsError, third.publish())
        fourth = await self.backend.receive(name("c"))
        await fourth.write([sealed()])
        await fourth.discard()
        await self.backend.delete(name("a"))
        self.assertEqual(os.listdir(os.path.join(self.root, ".blobman", "staging")), [])

    async def test_leftovers_are_swept(self) -> None:
        upload = await self.backend.receive(name("a"))
        await upload.write([sealed()])
        await self.backend.close()
        staging = os.path.join(self.root, ".blobman", "staging")
        self.assertEqual(len(os.listdir(staging)), 1)
        await self.backend.open()
        self.assertEqual(os.listdir(staging), [])

    async def test_one_server_at_a_time(self) -> None:
        other = FilesystemBackend(self.root)
        await self.fails(StoreError, other.open())
        await self.backend.close()
        await other.open()
        await other.close()

    async def test_closed(self) -> None:
        await self.backend.close()
        await self.backend.close()
        await self.fails(ClosedError, self.backend.read(name("a")))

    async def test_what_is_no_blob_is_not_listed(self) -> None:
        await self.upload(name("abcdefgh"), sealed())
        await self.backend.close()
        folder = folder_of(self.root, name("abcdefgh"))
        os.symlink("nowhere", os.path.join(folder, "abcdefgh.lock"))
        os.symlink("abcdefgh", os.path.join(folder, "abcdefgx"))
        for stray in (
            "abcdefgh.tmp",
            ".hidden",
            "elsewhere",
            ".0.deleted",
            "elsewhere.deleted",
        ):
            with open(os.path.join(folder, stray), "w"):
                pass
        await self.backend.open()
        assert isinstance(self.backend, FilesystemBackend)
        await self.backend.watch.compared
        self.assertEqual(await self.backend.list("alice", query()), ["abcdefgh"])
        self.assertEqual(await self.backend.list("alice", query(deleted=True)), [])

    async def test_two_long_ids_that_begin_alike(self) -> None:
        first, second = name("x" * 253 + "a"), name("x" * 253 + "b")
        await self.upload(first, sealed(), (Flags.PENDING,))
        await self.upload(second, sealed(), (Flags.FAILED,))
        self.assertEqual(await self.backend.get_flags(first), [Flags.PENDING])
        await self.backend.delete(second)
        self.assertEqual(await self.backend.list("alice", query(deleted=True)), [second.blob_id])

    async def test_damaged_flags_are_none(self) -> None:
        await self.upload(name("a"), sealed(), (Flags.PENDING,))
        with open(self.path(name("a"), ".flags"), "w") as file:
            file.write('["PEND')
        self.assertEqual(await self.backend.get_flags(name("a")), [])

    async def test_many_at_once_in_one_folder(self) -> None:
        ids = [f"abcdef{number}" for number in range(50)]
        uploads = [Deferred.fromCoroutine(self.upload(name(it), sealed(it))) for it in ids]
        await gatherResults(uploads, consumeErrors=True)
        self.assertEqual(await self.backend.count("alice", query()), 50)

    async def test_a_blob_cut_short_on_disk(self) -> None:
        await self.upload(name("a"), sealed(size=100_000))
        stored = await self.backend.read(name("a"))
        os.truncate(self.path(name("a")), 100)
        await self.fails(OSError, stored.read(0, 100_000))
        stored.close()
