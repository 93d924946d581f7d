"""What passes between a store and a remote: one blob's content, on its way out or in."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface


class IPayload(Interface):
    """A stored blob's content, as an upload reads it. Safe if the blob is deleted meanwhile."""

    size: int = Attribute("The size of the cleartext in bytes.")
    preamble: bytes = Attribute("The raw preamble that it is sealed with; empty if there is none.")
    external: bool = Attribute("Whether it came sealed by others, and is as it was delivered.")
    chunk_count: int = Attribute("How many chunks there are; 0 for an empty blob.")

    def read_now() -> bytes | None:
        """
        Give all of it, if it is small and has been read already.

        :raise StoreError: it is damaged.
        :raise ClosedError: the store was closed.
        """

    def read_chunk(index: int) -> Deferred[bytes]:
        """
        Read one chunk, off the reactor.

        :param index: from 0 to ``chunk_count`` - 1, in any order.
        :return: fires with the chunk (all but the last have the same length). Fails with
            ``BlobNotFoundError`` if the blob was deleted, with ``StoreError`` if it can't be read.
        """


Payloads = list[tuple[str, IPayload]]


class IStagedBlob(Interface):
    """
    Where a download goes before it is verified: nobody else can see it.

    It ends in exactly one of ``publish`` and ``discard``.
    """

    def write(data: bytes | bytearray | memoryview) -> Deferred[None] | None:
        """
        Take the next bytes. They are copied before this returns.

        :return: None if more may come at once; else a Deferred that fires when more may
            come. It fails with ``StoreError`` if they can't be stored.
        """

    def publish(
        preamble: bytes, external: bool = False, tag: bytes | None = None, sealed_size: int = 0
    ) -> Deferred[None]:
        """
        Make it the local copy of its blob, with status SYNCED, in one transaction.

        :param preamble: the raw preamble it was sealed with.
        :param external: it came sealed by others and is stored as delivered.
        :param tag: the last 16 bytes of what came, sealed; None if they are not known.
        :param sealed_size: the bytes that came, sealed.
        :return: fires when it is durable. A copy that is there already is kept, and this
            one dropped. Fails with ``InvalidBlob`` if the server's changes have told of another
            tag or size, or if this one is external and is to replace one that is not; with
            ``ReplacedMeanwhile`` if they had told of this one before; with
            ``IllegalStatusChange`` if the blob has meanwhile been deleted, and with
            ``StoreError``. Then it is gone.
        """

    def discard() -> Deferred[None]:
        """Remove it. Never fails; may be called at any time, and after an end too."""
