"""Whether the server still has what is here: by its tag, or by all of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from ..errors import BlobNotFoundError, describe
from ..interfaces import IBlobStore, IPayload, IRemote, IStagedBlob
from ..model import BlobKey, SyncStatus

_NOT_COMPARED = {
    None: "is not here",
    SyncStatus.LOCAL_ONLY: "is only here, and never sent",
    SyncStatus.PENDING_DELETE: "is being deleted",
}


Download = Callable[[IStagedBlob], Coroutine[Deferred[Any], Any, None]]
"""Downloads a blob, and gives it to what it is told."""


async def is_the_same(
    store: IBlobStore, remote: IRemote, key: BlobKey, download: Download | None
) -> bool:
    """
    Compare the copies of a blob here and on the server.

    :param download: downloads it, to be opened too. It is not stored. None to leave that out.
    :raise BlobNotFoundError: one of the two does not have it.
    :raise InvalidBlob: what was downloaded does not verify.
    """
    payload = await _open(store, key)
    if not await remote.compare(key.blob_id, payload, key.namespace):
        return False
    if download is None:
        return True
    staged = _Digest()
    await download(staged)
    return staged.digest() == await _digest(payload)


async def _open(store: IBlobStore, key: BlobKey) -> IPayload:
    record = await store.get_sync_status(key.blob_id, key.namespace)
    status = None if record is None else record[0]
    payload = None
    if status not in _NOT_COMPARED:
        payload = await store.open_payload(key.blob_id, key.namespace)
    if payload is None:
        why = _NOT_COMPARED.get(status, _NOT_COMPARED[None])
        raise BlobNotFoundError(f"verify {describe(key.blob_id, key.namespace)}: it {why}")
    return payload


@implementer(IStagedBlob)
class _Digest:
    """Takes the content of a download, and keeps no more than its digest."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.digest = self._hash.digest

    def write(self, data: bytes | bytearray | memoryview) -> Deferred[None] | None:
        self._hash.update(data)
        return None

    def publish(
        self,
        preamble: bytes,
        external: bool = False,
        tag: bytes | None = None,
        sealed_size: int = 0,
    ) -> Deferred[None]:
        return succeed(None)

    def discard(self) -> Deferred[None]:
        return succeed(None)


async def _digest(payload: IPayload) -> bytes:
    hashed = hashlib.sha256()
    for index in range(payload.chunk_count):
        hashed.update(await payload.read_chunk(index))
    return hashed.digest()
