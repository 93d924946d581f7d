"""Blobs that come to the store, and who is told of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ..interfaces import IBlobStore, IStagedBlob
from ..model import BlobKey
from .signals import Signal

T = TypeVar("T")


class Arrivals:
    """
    Receives blobs.

    :ivar signal: says which blob has been published just now.
    """

    def __init__(self, store: IBlobStore) -> None:
        """Nothing has come."""
        self._store = store
        self.signal: Signal[[BlobKey]] = Signal()

    def stage(self, blob_id: str, namespace: str = "", replace: bool = False) -> IStagedBlob:
        """Begin to receive a blob; see :meth:`.IBlobStore.stage`."""
        staged = self._store.stage(blob_id, namespace, replace)
        if not self.signal.is_heard:
            return staged
        return _Told(staged, partial(self.signal, BlobKey(namespace, blob_id)))


@implementer(IStagedBlob)
class _Told:
    """A staged blob of which it is told that it has been published."""

    def __init__(self, staged: IStagedBlob, tell: Callable[[], None]) -> None:
        self._staged = staged
        self._tell = tell

    def write(self, data: bytes | bytearray | memoryview) -> Deferred[None] | None:
        return self._staged.write(data)

    def publish(
        self,
        preamble: bytes,
        external: bool = False,
        tag: bytes | None = None,
        sealed_size: int = 0,
    ) -> Deferred[None]:
        published = self._staged.publish(preamble, external, tag, sealed_size)
        return published.addCallback(self._published)

    def _published(self, result: T) -> T:
        self._tell()
        return result

    def discard(self) -> Deferred[None]:
        return self._staged.discard()
