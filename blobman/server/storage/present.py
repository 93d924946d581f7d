"""
What the server asks of the place where it keeps blobs.

The folder on disk and the in-memory backend implement it, and pass the same contract tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from ...errors import BlobError
from ...model import Flags
from ...protocol import ListQuery
from .interface import BlobName

# Inside an interface that has a method ``list``, the builtin can't be written as a type.
Ids = list[str]
FlagList = list[Flags]
Outcomes = list[BlobError | None]


class IUpload(Interface):
    """
    A blob on its way in: nobody can see it before it is published.

    It ends in exactly one of ``publish`` and ``discard``.
    """

    name: BlobName = Attribute("What it will be called.")
    size: int = Attribute("The bytes written so far.")

    def write(pieces: Sequence[bytes | memoryview]) -> Deferred[None]:
        """
        Take the next bytes. Wait for the end of one write before the next.

        :return: fires when more may come. Fails with ``QuotaExceededError``, ``OSError``.
        """

    def publish(flags: Iterable[Flags] = ()) -> Deferred[None]:
        """
        Make it visible, with these flags, if nothing of that name is there.

        :return: fires when it is durable. Fails with ``BlobAlreadyExistsError``, ``OSError``;
            then it is gone.
        """

    def discard() -> Deferred[None]:
        """Remove it. Never fails; does nothing after an end."""


class IStoredBlob(Interface):
    """A blob that is open for reading. Its bytes stay readable if it is deleted meanwhile."""

    size: int = Attribute("Its size in bytes, sealed as it is.")
    tag: bytes = Attribute("Its last 16 bytes.")
    content: bytes | None = Attribute("All of it, if it is small and has been read already.")

    def read(start: int, end: int) -> Deferred[bytes]:
        """
        Read a part of it.

        :return: fires with the bytes from ``start`` to before ``end``. Fails with ``OSError``.
        """

    def close() -> None:
        """End. May be called while a read is under way, and twice."""


Found: TypeAlias = "list[IStoredBlob | None]"


class IBlobsBackend(Interface):
    """
    Keeps sealed blobs, their flags and tombstones.

    Names have been checked. A Deferred of a change fires when the change is durable. All can
    fail with ``OSError`` (disk full, not readable) or ``ClosedError``.
    """

    def open() -> Deferred[None]:
        """
        Begin. Must be called, and have fired, before anything else.

        :return: fires when ready. Fails with ``StoreError`` if another server has the place open.
        """

    def close() -> Deferred[None]:
        """
        End.

        :return: fires when what was under way is done. May be called twice.
        """

    def check_writing() -> Deferred[None]:
        """
        Try whether blobs can be written at all.

        :return: fires when they can. Fails with ``OSError`` if not.
        """

    def list(user: str, query: ListQuery) -> Deferred[Ids]:
        """
        List blobs, or tombstones.

        :param query: what to list; its ``only_count`` is ignored, its namespace is not empty.
        :return: fires with ids. A tombstone carries no flags, so a flag matches none.
        """

    def count(user: str, query: ListQuery) -> Deferred[int]:
        """
        Count what ``list`` would list.

        :return: fires with the number.
        """

    def read(name: BlobName) -> Deferred[IStoredBlob]:
        """
        Open a blob.

        :return: fires with an :class:`IStoredBlob`, to be closed. Fails with ``BlobNotFoundError``.
        """

    def read_some(names: Sequence[BlobName], most: int) -> Deferred[Found]:
        """
        Open some blobs, in the order given: until those that are small and have been read already
        have that many bytes, or with the first that is not small.

        :param names: at least one; not all may be looked at.
        :return: fires with an :class:`IStoredBlob`, to be closed, or None if it is not there, for
            the first name and perhaps for some after it. Fails if the first can't be read.
        """

    def receive(name: BlobName, size: int | None = None) -> Deferred[IUpload]:
        """
        Begin an upload.

        :param size: how many bytes will come, if that is known.
        :return: fires with an :class:`IUpload`. Fails with ``BlobAlreadyExistsError``,
            ``QuotaExceededError``.
        """

    def store(blobs: Sequence[tuple[BlobName, bytes]]) -> Deferred[Outcomes]:
        """
        Store blobs that are in memory, each as if by itself, with one wait for all of them.

        :return: fires when they are durable, with None for each that is stored, or else its
            ``BlobAlreadyExistsError`` or ``QuotaExceededError``.
        """

    def delete(name: BlobName) -> Deferred[None]:
        """
        Remove a blob with its flags, and leave a tombstone.

        :return: fires when it is gone. Fails with ``BlobNotFoundError``.
        """

    def set_flags(name: BlobName, flags: Iterable[Flags]) -> Deferred[None]:
        """
        Replace a blob's flags.

        :return: fires when they are set. Fails with ``BlobNotFoundError``.
        """

    def get_flags(name: BlobName) -> Deferred[FlagList]:
        """
        Read a blob's flags, in the order in which they were given.

        :return: fires with them. Fails with ``BlobNotFoundError``.
        """
