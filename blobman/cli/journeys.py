"""One file's way from a laptop to a phone, measured and checked."""

from __future__ import annotations

import hashlib
import os
import threading
from typing import Any, BinaryIO, NamedTuple

from twisted.internet.defer import CancelledError

from blobman import BlobDoc, BlobManager

from .stage import Stage
from .waiting import in_thread

CHUNK = 256 * 1024


class Journey(NamedTuple):
    """
    What came of it.

    :ivar path: the file.
    :ivar sealed: bytes on the server.
    :ivar up: seconds for ``put``.
    :ivar down: seconds for ``get``.
    :ivar verified: whether what arrived is what left.
    """

    path: str
    blob_id: str
    size: int
    sealed: int
    up: float
    down: float
    verified: bool


async def travel(
    reactor: Any, stage: Stage, laptop: BlobManager, phone: BlobManager, path: str
) -> Journey:
    """
    Put a file on one device, and get it on the other.

    :raise OSError: the file can't be read.
    """
    with open(path, "rb") as file:
        doc = BlobDoc(file)
        size = os.fstat(file.fileno()).st_size
        left = await _digest(reactor, file)
        start = reactor.seconds()
        await laptop.put(doc, size)
        up = reactor.seconds() - start
    start = reactor.seconds()
    with await phone.get(doc.blob_id) as content:
        down = reactor.seconds() - start
        arrived = await _digest(reactor, content)
    sealed, _ = await stage.look_at_server(doc.blob_id)
    return Journey(path, doc.blob_id, size, sealed, up, down, arrived == left)


async def _digest(reactor: Any, file: BinaryIO) -> bytes:
    def digest(stop: threading.Event) -> bytes:
        hashed = hashlib.sha256()
        while data := file.read(CHUNK):
            if stop.is_set():
                raise CancelledError
            hashed.update(data)
        return hashed.digest()

    return await in_thread(reactor, digest)
