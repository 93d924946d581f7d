"""
The frames of a stream down.

Small blobs are read some at a time, and sent so; the next are read while these are being sent.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred, succeed

from ...protocol import MAX_FRAME_SIZE, MIN_SEALED_SIZE, NOT_THERE, write_frame_header
from ..storage.interface import BlobName, Found, IBlobsBackend
from .answers import PacedWriter
from .download import send_part

AT_ONCE = 192 * 1024
"""Bytes of small blobs after which no more are read and sent at once."""

NAMES = 100
"""How many blobs are asked for at once, at most."""

_NO_BLOB = write_frame_header(*NOT_THERE)


async def send_frames(
    writer: PacedWriter, backend: IBlobsBackend, names: Sequence[BlobName]
) -> None:
    """
    Send the frames of blobs, in the order given, and end the answer. It ends early before a blob
    that no frame can hold.

    :raise ClientGoneError: the connection has ended.
    :raise StoreError: a blob can't be read; those before it have been sent.
    """
    reading, taken, goes_on = _read_from(backend, names, 0), 0, True
    while goes_on and taken < len(names):
        found = await reading
        taken += len(found)
        reading, goes_on = _read_from(backend, names, taken), False
        try:
            goes_on = await _send(writer, found)
        finally:
            if not goes_on:
                reading.addCallbacks(_close, lambda _: None)
    writer.finish()


def _read_from(backend: IBlobsBackend, names: Sequence[BlobName], start: int) -> Deferred[Found]:
    some = names[start : start + NAMES]
    return backend.read_some(some, AT_ONCE) if some else succeed([])


async def _send(writer: PacedWriter, found: Found) -> bool:
    """Send the frames of some; or of those before one that no frame holds, and tell so."""
    waiting: list[bytes] = []
    goes_on = True
    try:
        for blob in found:
            if blob is None or blob.size < MIN_SEALED_SIZE:
                # If there is a file, it was cut: there is no blob in it.
                waiting.append(_NO_BLOB)
                continue
            if blob.size > MAX_FRAME_SIZE:
                goes_on = False
                break
            waiting.append(write_frame_header(blob.size, blob.tag))
            if blob.content is not None:
                waiting.append(blob.content)
            else:
                await _write(writer, waiting)
                await send_part(writer, blob, 0, blob.size)
        await _write(writer, waiting)
        return goes_on
    finally:
        _close(found)


async def _write(writer: PacedWriter, pieces: list[bytes]) -> None:
    if pieces:
        writer.write(b"".join(pieces))
        pieces.clear()
        await writer.drained()


def _close(found: Found) -> None:
    for blob in found:
        if blob is not None:
            blob.close()
