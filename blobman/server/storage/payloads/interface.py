"""
What a store of payloads has to do.

It knows nothing of users and names, keeps no list, and is never asked for one. Who writes a payload
has recorded its key in the catalogue before, so that nothing has to be searched for after a crash.
A store that is apart from its catalogue bears a mark, by which both know each other.
All methods can fail with ``UnavailableError``, and with ``ClosedError`` after ``close``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from ....errors import StoreError
from ..interface import Observers

LINGER = 60
"""Seconds after which nobody can be about to open the payload of a deleted blob any more."""


class Listed(NamedTuple):
    """
    Something that is in a store.

    :ivar size: its bytes; 0 if it is not whole.
    :ivar modified: when it was made, in seconds since the epoch.
    """

    key: str
    size: int
    modified: float


class IPayloadWriter(Interface):
    """A payload that is being written. It ends with exactly one of ``commit`` and ``discard``."""

    def write(pieces: Sequence[bytes | memoryview]) -> Deferred[None]:
        """
        Append. Wait for the end of one write before the next.

        :return: fires when more may come. Fails with ``UnavailableError``.
        """

    def commit() -> Deferred[None]:
        """
        Make it durable.

        :return: fires when it survives a power cut. Fails with ``UnavailableError`` if that is not
            certain; then it has to be removed.
        """

    def discard() -> Deferred[None]:
        """End without keeping it; it still has to be removed. The Deferred never fails."""


class IPayload(Interface):
    """A payload that is open for reading."""

    size: int = Attribute("Its bytes.")
    content: bytes | None = Attribute("All of it, if it has been read already.")

    def read(start: int, end: int) -> Deferred[bytes]:
        """
        Read a part.

        :return: fires with the bytes from ``start`` to before ``end``. Fails with ``DamagedError``
            if the payload ends before, with ``UnavailableError`` if it can't be read.
        """

    def read_ahead(start: int, end: int) -> None:
        """Expect that a part is going to be read in order, piece by piece."""

    def close() -> None:
        """Release it. May be called twice. A read that is under way fails, or ends."""


class IPayloads(Interface):
    """A store of payloads. Keys are 32 lower-case hexadecimal digits unless it hands out others."""

    late: int = Attribute(
        "Seconds for which a payload may still turn up, though writing it has failed."
    )
    linger: int = Attribute("Seconds for which deleted ones must stay, for those who read them.")
    observers: Observers = Attribute("See :class:`~..interface.IBlobsBackend`.")
    is_apart: bool = Attribute("Whether it has a mark, since it is not where the catalogue is.")

    def open() -> Deferred[None]:
        """
        Begin.

        :return: fires when ready. Fails with ``StoreError``.
        """

    def close() -> Deferred[None]:
        """
        End.

        :return: fires when what was under way is done. May be called twice.
        """

    def check_writing() -> Deferred[None]:
        """
        See whether payloads can be written.

        :return: fires if they can. Fails with ``UnavailableError``.
        """

    def create(key: str, size: int | None = None) -> Deferred[IPayloadWriter]:
        """
        Begin to write a payload.

        :param key: one that has never been used.
        :param size: how many bytes it is going to have, if that is known. Then ``commit`` fails
            with ``UnavailableError`` if others have been written.
        :return: fires with an :class:`IPayloadWriter`. Fails with ``UnavailableError`` also if the
            key has been used. Cancelled, it may still be made: it has to be removed.
        """

    def get(key: str, most: int = 0) -> Deferred[IPayload]:
        """
        Open a payload.

        :param most: if it has no more bytes than this, its content is read at once.
        :return: fires with an :class:`IPayload`, to be closed. Fails with ``DamagedError`` if it is
            not there though the place where it should be is, and ``UnavailableError`` otherwise.
        """

    def remove(keys: Sequence[str]) -> Deferred[dict[str, StoreError]]:
        """
        Remove payloads, those that are there.

        :return: fires with the keys of those that may still be there, and why. It fails with
            nothing else than ``ClosedError``.
        """

    def listed() -> AsyncGenerator[list[Listed], None]:
        """
        List what is there, page by page: payloads, and what has been begun of some. It is for who
        compares; nothing that serves blobs asks for it.

        :return: pages. Reading one fails with ``UnavailableError``.
        """

    def read_mark() -> Deferred[str | None]:
        """
        Read the mark of a store that is apart.

        :return: fires with it; None if it bears none. Fails with ``UnavailableError``.
        """

    def write_mark(mark: str) -> Deferred[None]:
        """
        Give a store that is apart its mark.

        :return: fires when it is durable. Fails with ``UnavailableError``.
        """
