"""What the synchronizer asks of a remote."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from twisted.internet.defer import Deferred
from zope.interface import Interface

from ..model import FIRST_CURSOR, ChangesPage, Flags
from .content import IPayload, IStagedBlob, Payloads
from .observers import Progress, no_progress
from .store import Ids

FlagList = list[Flags]


class IRemote(Interface):
    """
    A user's blobs on the server.

    Each Deferred can fail with ``UnauthorizedError``, ``CertificateError``,
    ``RetriableTransferError`` (no connection, cut, idle, 408, 425, 429, 5xx) or ``ServerError``:
    also when something on the way answered in the server's place. What the server has not said
    itself is never taken for a success, or for "not there". Cancelling one closes its connection.
    """

    def list(
        namespace: str = "",
        order_by: str | None = None,
        deleted: bool = False,
        filter_flag: str | None = None,
    ) -> Deferred[Ids]:
        """
        List ids; or tombstones, with ``deleted``.

        :return: fires with ids. Fails with ``ServerError``, too, if the list is longer than
            32 MiB or 900,000 ids.
        """

    def count(
        namespace: str = "", deleted: bool = False, filter_flag: str | None = None
    ) -> Deferred[dict[str, int]]:
        """
        Count what ``list`` would list.

        :return: fires with ``{"count": n}``.
        """

    def changes(
        cursor: str = FIRST_CURSOR, namespace: str = "", limit: int = 1000, wait: int = 0
    ) -> Deferred[ChangesPage | Ids]:
        """
        Ask what has changed.

        An entry can come again in a later page, but none is ever left out: whatever is changed
        after a page was made comes after its cursor.

        :param cursor: of an earlier page of this namespace; or ``model.FIRST_CURSOR``, for all
            blobs that are there.
        :param limit: the most changes that are wanted, 1 or more; 10,000 is the most there are.
        :param wait: whole seconds, 0 to 60, that the answer may take if nothing has changed yet.
            Then it comes as soon as something has; at the end of that time, or earlier if the
            server likes, it comes without changes. Wait a moment before asking again if it came
            early: the server is stopping, or has too many that wait.
        :return: fires with a ``model.ChangesPage``; from a server that does not know of changes,
            with the list of all ids, at once. Fails with ``CursorExpiredError``, and with
            ``ServerError``, too, if a list is longer than 32 MiB or 900,000 ids.
        """

    def namespaces() -> Deferred[dict[str, int] | None]:
        """
        Ask for the namespaces that have blobs.

        :return: fires with how many each has, the default one being ``''``; with None from a
            server that can't tell.
        """

    def get_tag(blob_id: str, namespace: str = "") -> Deferred[bytes]:
        """
        Ask for a blob's tag without its content.

        :return: fires with 16 bytes. Fails with ``BlobNotFoundError``.
        """

    def upload(
        blob_id: str,
        payload: IPayload,
        namespace: str = "",
        progress: Progress = no_progress,
    ) -> Deferred[bytes]:
        """
        Seal and send.

        :return: fires with the tag, when the server has it for good. Fails with
            ``BlobAlreadyExistsError``, ``QuotaExceededError``, or as reading the payload does.
        """

    def download(
        blob_id: str,
        staged: IStagedBlob,
        namespace: str = "",
        progress: Progress = no_progress,
    ) -> Deferred[None]:
        """
        Receive, open, verify and publish. Whatever happens, nothing stays staged.

        :return: fires when the blob is published. Fails with ``BlobNotFoundError``, with
            ``InvalidBlob`` if it does not verify, or as storing it does.
        """

    def compare(blob_id: str, payload: IPayload, namespace: str = "") -> Deferred[bytes | None]:
        """
        Ask whether the server's blob of this id is this one, without downloading it.

        If the payload has no preamble, so that nothing tells how it was sealed, its content counts.

        :return: fires with its tag, if that is the one that sealing the payload gives; else with
            None. Fails with ``BlobNotFoundError``, or as reading the payload does.
        """

    def delete(blob_id: str, namespace: str = "") -> Deferred[None]:
        """
        Delete, leaving a tombstone.

        :return: fires when it is gone, also if the server's answer was lost and it was asked
            again. Fails with ``BlobNotFoundError``.
        """

    def set_flags(blob_id: str, flags: Iterable[str], namespace: str = "") -> Deferred[None]:
        """
        Replace the flags.

        :return: fires when they are set. Fails with ``InvalidFlagsError``, ``BlobNotFoundError``.
        """

    def get_flags(blob_id: str, namespace: str = "") -> Deferred[FlagList]:
        """
        Read the flags.

        :return: fires with members of ``Flags``. Fails with ``BlobNotFoundError``.
        """

    def close() -> Deferred[None]:
        """
        Close the connections.

        :return: fires when they are closed.
        """


Ended = Callable[[str, "BaseException | int | None"], object]
"""
Told an id, and what became of it: the sealed size in bytes if it has been published, an error, or
None if it needs a request of its own.
"""


class Sent(NamedTuple):
    """
    What became of a blob that went up with others.

    :ivar result: ``created`` (the server has it for good), ``exists``, ``quota`` or ``invalid``.
    :ivar tag: the one that it was sealed with.
    """

    result: str
    tag: bytes


class IRemoteStream(Interface):
    """
    Many blobs of a user in one request. Each Deferred can fail as those of ``IRemote`` do.

    Where the server has no such streams, nothing is said of any blob: each goes alone.
    """

    def upload_many(payloads: Payloads, namespace: str = "") -> Deferred[dict[str, Sent]]:
        """
        Seal and send small blobs.

        :return: fires with what became of each. An id is missing if the server did not say.
        """

    def download_many(
        blob_ids: Ids,
        stage: Callable[[str, str], IStagedBlob],
        ended: Ended,
        namespace: str = "",
    ) -> Deferred[None]:
        """
        Receive, open, verify and publish each by itself. Nothing stays staged.

        :param stage: begins to receive a blob: takes its id and the namespace.
        :param ended: told what became of each. Of those that it is not told of when the Deferred
            fires, nothing has come: the request ended before.
        :return: fires when it is over.
        """
