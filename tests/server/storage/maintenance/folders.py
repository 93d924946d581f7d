"""Data folders with blobs in them."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Awaitable, Callable
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from blobman.server.storage.backend import Backend
from blobman.server.storage.backends import OWN_FOLDER, folder_backend
from blobman.server.storage.catalogue.questions import Generation
from blobman.server.storage.catalogue.visiting import asking
from blobman.server.storage.interface import BlobName
from blobman.server.storage.maintenance.check import check
from blobman.testing.contracts.support import Consumer, name, query, sealed

T = TypeVar("T")

LARGE = 300_000
"""Bytes; the last chunk of such a payload is not a whole one."""

Blobs = dict[BlobName, bytes]


async def put(backend: Backend, blob: BlobName, content: bytes) -> None:
    upload = await backend.receive(blob, len(content))
    await upload.write([content])
    await upload.publish()


async def read(backend: Backend, blob: BlobName) -> bytes:
    stored = await backend.read(blob)
    consumer = Consumer()
    await stored.write_to(consumer)
    stored.close()
    return consumer.content


class FolderCase(TestCase):
    """Has the path of a data folder."""

    def setUp(self) -> None:
        self.folder = os.path.abspath(self.mktemp())
        os.mkdir(self.folder)
        self.data = self.path("data")
        self.backup = self.path("backup")
        # Payloads have the same names in every run.
        chance = random.Random(1)
        self.patch(secrets, "token_hex", lambda size: chance.randbytes(size).hex())

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    async def open(self, data: str = "") -> Backend:
        """Open the data folder, or another one. It is closed at the end."""
        backend = folder_backend(data or self.data)
        await backend.open()
        self.addCleanup(backend.close)
        return backend

    def generations(self, data: str = "") -> list[Generation]:
        """Read the generations of the data folder, or of another one."""
        with asking(os.path.join(data or self.data, OWN_FOLDER)) as questions:
            return questions.generations()

    async def fill(self, small: int = 20, large: int = 4) -> Blobs:
        """Put blobs into the data folder, and close it."""
        blobs = {name(f"small-{number}"): sealed(str(number), 5000) for number in range(small)}
        blobs |= {name(f"large-{number}"): sealed(str(number), LARGE) for number in range(large)}
        backend = await self.open()
        for blob, content in blobs.items():
            await put(backend, blob, content)
        await backend.close()
        return blobs

    async def with_server(self, work: Callable[[Backend], Awaitable[T]], data: str = "") -> T:
        """Do something with a data folder that is open meanwhile."""
        backend = await self.open(data)
        try:
            return await work(backend)
        finally:
            await backend.close()

    async def served(self, data: str = "") -> Blobs:
        """Read all that alice has in a data folder."""

        async def work(backend: Backend) -> Blobs:
            ids = [it async for page in backend.list("alice", query()) for it in page]
            return {name(it): await read(backend, name(it)) for it in ids}

        return await self.with_server(work, data)

    def payload_paths(self, data: str = "") -> list[str]:
        """Give the paths of all payloads."""
        top = os.path.join(data or self.data, ".blobman", "payloads")
        return sorted(os.path.join(it, file) for it, _, files in os.walk(top) for file in files)

    def check_in_thread(self, data: str = "", deep: bool = True) -> Deferred[list[str]]:
        """Check a folder that is open in this process, and give what is found."""
        return deferToThread(lambda: self.found(data, deep))

    def found(self, data: str = "", deep: bool = True) -> list[str]:
        return [finding.text for finding in check(data or self.data, deep)]


def change_file(path: str, at: int, value: int = 1) -> None:
    """Change bits of a byte."""
    with open(path, "r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ value]))
