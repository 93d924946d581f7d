"""Blobs on their way in: :class:`Upload`, and :class:`SmallUpload` for what memory holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from ...errors import BlobError
from ...model import Flags
from ...protocol import TAG_SIZE
from .catalogue.interface import ICatalogue, Publication
from .digests import ChunkDigests
from .interface import BlobName, IUpload, Outcomes
from .payloads.interface import IPayloadWriter

STEP = 8 * 1024 * 1024
"""Bytes that are reserved at a time if nobody said how many will come."""


@implementer(IUpload)
class Upload:
    """
    Writes a payload whose key is reserved.

    :param reserved: the bytes that are reserved.
    :param remove: removes the payload of an upload that was not published; it never fails.
    :param ended: called when it has ended.
    :ivar key: the payload's.
    """

    def __init__(
        self,
        name: BlobName,
        key: str,
        reserved: int,
        writer: IPayloadWriter,
        catalogue: ICatalogue,
        remove: Callable[[str], Deferred[None]],
        ended: Callable[[Upload], None],
    ) -> None:
        self.name = name
        self.key = key
        self.size = 0
        self._reserved = reserved
        self._writer = writer
        self._catalogue = catalogue
        self._remove = remove
        self._ended = ended
        self._digests = ChunkDigests()
        self._tail = b""
        self._is_over = False

    def write(self, pieces: Sequence[bytes | memoryview]) -> Deferred[None]:
        """Append; see :class:`IUpload`."""
        come = sum(map(len, pieces))
        if self.size + come <= self._reserved:
            return self._append(pieces, come)
        return Deferred.fromCoroutine(self._reserve_and_append(pieces, come))

    async def _reserve_and_append(self, pieces: Sequence[bytes | memoryview], come: int) -> None:
        wanted = self.size + come
        try:
            await self._catalogue.extend(self.key, wanted + STEP)
            self._reserved = wanted + STEP
        except BlobError:
            # It may be all that comes.
            await self._catalogue.extend(self.key, wanted)
            self._reserved = wanted
        await self._append(pieces, come)

    def _append(self, pieces: Sequence[bytes | memoryview], come: int) -> Deferred[None]:
        self._digests.update(pieces)
        for piece in pieces:
            self._tail = (self._tail + bytes(piece[-TAG_SIZE:]))[-TAG_SIZE:]

        def count(_: None) -> None:
            self.size += come

        return self._writer.write(pieces).addCallback(count)

    def publish(self, flags: Iterable[Flags] = ()) -> Deferred[None]:
        """Make it durable, then visible; see :class:`IUpload`."""
        return Deferred.fromCoroutine(self._publish(tuple(flags)))

    async def _publish(self, flags: tuple[Flags, ...]) -> None:
        self._is_over = True
        try:
            await self._writer.commit()
            digests = self._digests.finish()
            blob = Publication(
                self.name, self.size, self._tail, key=self.key, digests=digests, flags=flags
            )
            _raise_first(await self._catalogue.publish([blob]))
        except BaseException:
            # If it was published after all, this does nothing.
            self._remove(self.key)
            raise
        finally:
            self._ended(self)

    def discard(self) -> Deferred[None]:
        """Remove it; see :class:`IUpload`."""
        return Deferred.fromCoroutine(self._discard())

    async def _discard(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._ended(self)
        await self._writer.discard()
        await self._remove(self.key)


@implementer(IUpload)
class SmallUpload:
    """Keeps what comes in memory, to be published with its content."""

    def __init__(self, name: BlobName, catalogue: ICatalogue) -> None:
        self.name = name
        self._content = bytearray()
        self._catalogue = catalogue

    @property
    def size(self) -> int:
        """The bytes that have come."""
        return len(self._content)

    def write(self, pieces: Sequence[bytes | memoryview]) -> Deferred[None]:
        """Append; see :class:`IUpload`."""
        for piece in pieces:
            self._content += piece
        return succeed(None)

    def publish(self, flags: Iterable[Flags] = ()) -> Deferred[None]:
        """Make it visible; see :class:`IUpload`."""
        content = bytes(self._content)
        tag = content[-TAG_SIZE:]
        blob = Publication(self.name, len(content), tag, content, flags=tuple(flags))
        return self._catalogue.publish([blob]).addCallback(_raise_first)

    def discard(self) -> Deferred[None]:
        """Forget it; see :class:`IUpload`."""
        return succeed(None)


def _raise_first(outcomes: Outcomes) -> None:
    for error in filter(None, outcomes):
        raise error
