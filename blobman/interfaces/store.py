"""What the synchronizer asks of a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import BinaryIO

from twisted.internet.defer import Deferred
from zope.interface import Interface

from ..document import BlobReader
from ..model import ChangesPage, Flags, Priority, QueuedTransfer, SyncStatus
from ..reconciliation import AppliedChanges, EndedComparison, FeedState, Waiting
from .content import IPayload, IStagedBlob

# Inside an interface that has a method ``list``, the builtin can't be written as a type.
Ids = list[str]
Paths = list[str]
Sizes = list[tuple[str, int]]
Queue = list[QueuedTransfer]
Tags = Mapping[str, bytes | None]


class IBlobStore(Interface):
    """
    The blobs and their statuses on this machine.

    Each method runs off the reactor, and each Deferred can fail with ``StoreError``
    (locked, full, damaged; ``WrongKeyError`` for a wrong key) or ``ClosedError``. When a
    Deferred of a change has fired, the change is durable. Namespace ``''`` is the default one. What
    is not a name fails with ``ValueError``; so does ``'default'``, the server's name for ``''``.
    """

    def put(
        blob_id: str,
        blob_fd: BinaryIO,
        size: int,
        namespace: str = "",
        status: SyncStatus = SyncStatus.PENDING_UPLOAD,
        priority: Priority = Priority.MEDIUM,
        preamble: bytes = b"",
    ) -> Deferred[None]:
        """
        Store a new blob, whole or not at all.

        :param blob_fd: a seekable binary file; it is read from its start, in a thread unless that
            takes no waiting.
        :param size: how many bytes it holds.
        :param status: PENDING_UPLOAD or LOCAL_ONLY.
        :param preamble: the raw preamble that it will be sealed with; empty if that is still to be
            recorded, see :meth:`record_preamble`.
        :return: fires when it is durable. Fails with ``BlobAlreadyExistsError`` if anything is
            recorded under that id, ``WrongSizeError``, ``UnreadableContentError``, or ``TypeError``
            if the file gives no bytes.
        """

    def get(blob_id: str, namespace: str = "") -> Deferred[BlobReader | None]:
        """
        Open the local copy.

        :return: fires with a :class:`~blobman.BlobReader`, or with None if there is no local copy,
            or it is to be deleted.
        """

    def open_payload(blob_id: str, namespace: str = "") -> Deferred[IPayload | None]:
        """
        Open the local copy for sending.

        :return: fires with an :class:`IPayload`, or None if there is no local copy.
        """

    def record_preamble(blob_id: str, preamble: bytes, namespace: str = "") -> Deferred[None]:
        """
        Record what a PENDING_UPLOAD blob will be sealed with, if that has not been recorded.

        :param preamble: the raw preamble.
        :return: fires when it is durable. What was recorded before stays, and so does any other
            blob.
        """

    def open_pending_uploads(
        blob_ids: Ids, namespace: str, max_size: int
    ) -> Deferred[dict[str, IPayload]]:
        """
        Open many local copies for sending.

        :param max_size: in bytes.
        :return: fires with those that are PENDING_UPLOAD and not larger, by their ids.
        """

    def mark_uploaded(tags: Tags, namespace: str) -> Deferred[Ids]:
        """
        Make SYNCED those that are PENDING_UPLOAD; others stay.

        :param tags: of each id, the tag that the blob was sealed with; None if it is not known.
        :return: fires, when it is durable, with those that are not SYNCED now.
        """

    def stage(blob_id: str, namespace: str = "", replace: bool = False) -> IStagedBlob:
        """
        Begin to receive a blob. Nothing is written before the first bytes come.

        :param replace: when it is published, it takes the place of a copy that is SYNCED, which
            stays readable until then.
        """

    def exists(blob_id: str, namespace: str = "") -> Deferred[bool]:
        """
        Ask for a local copy.

        :return: fires with whether ``get`` would find one.
        """

    def delete(blob_id: str, namespace: str = "") -> Deferred[bool]:
        """
        Remove the local copy and the status: no trace is left. But if the server's changes have
        told of another blob under the id (since it was PENDING_DELETE, or if it was LOCAL_ONLY),
        that is PENDING_DOWNLOAD. What was PENDING_DELETE, and here or told of, has left a tombstone
        on the server: it is noted as by :meth:`note_older_tombstone`.

        :return: fires with whether there was a local copy. Fails with ``IllegalStatusChange`` if
            the blob has not been uploaded (PENDING_UPLOAD, FAILED_UPLOAD).
        """

    def fetch_instead(blob_id: str, namespace: str = "") -> Deferred[None]:
        """
        Remove the local copy of a blob that is PENDING_DELETE, and make it PENDING_DOWNLOAD.

        The server has another blob under its id. Any other blob stays as it is.

        :return: fires when it is durable.
        """

    def list(namespace: str = "") -> Deferred[Ids]:
        """
        List the local copies that ``get`` would find.

        :return: fires with ids, oldest first.
        """

    def list_status(status: SyncStatus, namespace: str = "") -> Deferred[Ids]:
        """
        List by status.

        :return: fires with ids, most urgent first, then oldest first.
        """

    def list_namespaces() -> Deferred[Ids]:
        """
        List the namespaces.

        :return: fires with the namespaces of all that is recorded, sorted.
        """

    def list_found() -> Deferred[Paths]:
        """
        List the files of content that the store does not know, and keeps aside.

        :return: fires with their paths, sorted.
        """

    def list_external(namespace: str = "") -> Deferred[Ids]:
        """
        List the local copies of blobs that others sealed, and that are not to be deleted.

        :return: fires with ids, oldest first.
        """

    def get_size_list(status: SyncStatus, namespace: str = "") -> Deferred[Sizes]:
        """
        List the local copies of a status with their sizes.

        :return: fires with (id, bytes), most urgent first, then oldest first.
        """

    def get_sync_status(
        blob_id: str, namespace: str = ""
    ) -> Deferred[tuple[SyncStatus, int] | None]:
        """
        Look up a status.

        :return: fires with the status and the number of failed attempts; with None if
            nothing is recorded.
        """

    def update_sync_status(
        blob_id: str,
        status: SyncStatus,
        namespace: str = "",
        priority: Priority | None = None,
    ) -> Deferred[None]:
        """
        Change a status; the record is made if there is none.

        :param priority: the priority of a record that is made (MEDIUM if None); of one that is
            there, it stays as it is unless this is more urgent.
        :return: fires when it is durable. PENDING_DOWNLOAD and SYNCED set the failed
            attempts to 0 unless the status stays the same. Fails with ``IllegalStatusChange``
            if ``model.STATUS_CHANGES`` does not have it.
        """

    def get_sync_progress(namespace: str | None = "") -> Deferred[dict[str, int]]:
        """
        Count by status.

        :param namespace: None for all of them.
        :return: fires with the name of each status that occurs -> how many blobs have it.
        """

    def get_priority(blob_id: str, namespace: str = "") -> Deferred[Priority | None]:
        """
        Look up a priority.

        :return: fires with it, or with None if nothing is recorded.
        """

    def update_priority(blob_id: str, priority: Priority, namespace: str = "") -> Deferred[None]:
        """
        Change the priority of a blob; one that is not recorded stays so.

        :return: fires when it is durable.
        """

    def increment_retries(blob_id: str, namespace: str = "") -> Deferred[int]:
        """
        Count a failed attempt.

        :return: fires with the new number; 0 if nothing is recorded.
        """

    def forget(blob_id: str, namespace: str = "") -> Deferred[None]:
        """
        Remove the record of a blob that is not here: PENDING_DOWNLOAD or FAILED_DOWNLOAD.

        Any other is left alone. So is one that the server's changes have told of, and no list
        since: they also tell when it goes.

        :return: fires when it is durable.
        """

    def next_transfers(
        status: SyncStatus, namespace: str, limit: int, after: QueuedTransfer | None = None
    ) -> Deferred[Queue]:
        """
        List what waits, page by page.

        :param limit: at most so many.
        :param after: only those that come after this one; None for the first page.
        :return: fires with :class:`blobman.model.QueuedTransfer`, most urgent first, then oldest.
        """

    def apply_tombstones(deleted: Set[str], listed: Set[str], namespace: str = "") -> Deferred[Ids]:
        """
        Remove what was deleted on the server and has not been made again.

        The local copy of a SYNCED blob, and the record of a PENDING_DOWNLOAD or FAILED_DOWNLOAD
        one, go away if the id is in ``deleted`` and not in ``listed``. All else stays. So does a
        SYNCED one if the tombstone was known already: from an earlier call, because the blob was
        deleted from here, or through :meth:`note_older_tombstone`. It is older than the blob.

        :return: fires with the ids of the local copies that went.
        """

    def note_older_tombstone(blob_id: str, namespace: str = "") -> Deferred[None]:
        """
        Note that the server has a tombstone of an id, and a blob that came later.

        :return: fires when it is durable.
        """

    def apply_remote_list(
        listed: Set[str], namespace: str = "", deleted: Set[str] = frozenset()
    ) -> Deferred[Ids]:
        """
        Compare with what the server lists, and note what has to move.

        Listed and not recorded: PENDING_DOWNLOAD. Here, not listed, and SYNCED or FAILED_UPLOAD:
        PENDING_UPLOAD. Neither here nor listed, and PENDING_DOWNLOAD or FAILED_DOWNLOAD: the
        record goes away. Priorities and retry counts stay. What arrives from then on need not have
        the tags and sizes that changes told before: a list says nothing of them.

        :param deleted: the ids of which the server has tombstones. What is SYNCED and among them
            was left by :meth:`apply_tombstones`, and stays SYNCED.

        :return: fires with the ids that are listed and PENDING_UPLOAD: whether the server has the
            same bytes is not known yet.
        """

    def get_feed(namespace: str = "") -> Deferred[FeedState]:
        """
        Ask how far the server's changes have been followed.

        :return: fires with a :class:`blobman.reconciliation.FeedState`; where nothing has been
            applied yet, with that of a full comparison at its beginning.
        """

    def apply_changes(
        page: ChangesPage, since: str, namespace: str = ""
    ) -> Deferred[AppliedChanges]:
        """
        Apply some changes as ``reconciliation.RECONCILIATION`` says, and come to their cursor, in
        one transaction.

        The tags and sizes that the server told are recorded: what is downloaded then must have
        them, see :meth:`IStagedBlob.publish`. During a full comparison, what comes is marked as
        seen; so is what becomes SYNCED.

        :param since: the cursor that the page was asked for with.
        :return: fires with what has changed. If the store has come to another cursor meanwhile,
            nothing has: ask again with that one.
        """

    def begin_comparison(namespace: str = "", is_refused: bool = True) -> Deferred[None]:
        """
        Begin a full comparison: come back to ``FIRST_CURSOR``, and forget what has been seen.

        Do so when the server refuses a cursor. What is recorded of blobs stays as it is. If it is
        interrupted, it can be gone on with from where :meth:`get_feed` says.

        :param is_refused: whether the server has refused the cursor. If it has not,
            :meth:`apply_changes` comes back to that cursor after the last page from the start: from
            there on come the deletions that had not been told. Then the comparison can end.
        :return: fires when it is durable.
        """

    def has_unseen(namespace: str = "") -> Deferred[bool]:
        """
        Ask whether the tombstones of the server are needed to end a full comparison.

        :return: fires with whether anything SYNCED has not been seen, or has a tag that is not
            known here.
        """

    def end_comparison(
        since: str, deleted: Set[str], now: float, namespace: str = ""
    ) -> Deferred[EndedComparison]:
        """
        End a full comparison: settle what has not been seen, as what is missing from a list is.

        See :meth:`apply_tombstones`, for what is in ``deleted``, and :meth:`apply_remote_list`, for
        what is not.

        :param since: the cursor that the comparison has come to: there is no more behind it.
        :param deleted: the ids of which the server has tombstones, asked for after the last page.
            They may be left out if :meth:`has_unseen` says so.
        :param now: seconds since the epoch, to be recorded.
        :return: fires with what has changed.
        """

    def list_untold(namespace: str = "") -> Deferred[Ids]:
        """
        List what is SYNCED, was uploaded, and has not been told of by a change since.

        What changes told of just before :meth:`mark_uploaded` is not among it.
        """

    def send_again(ids: Sequence[str], namespace: str = "") -> Deferred[int]:
        """
        Make PENDING_UPLOAD those of some blobs that :meth:`list_untold` lists still.

        The server does not have them if it has told of everything since they were uploaded: a
        backup of before was put back. Once they are SYNCED again they are not listed again, though
        they may not be told of.

        :return: fires with how many there are, when it is durable.
        """

    def next_outdated(
        namespace: str, limit: int, after: QueuedTransfer | None = None
    ) -> Deferred[Queue]:
        """
        List what is SYNCED, and another blob on the server, as far as the tags tell.

        Its copy is to be replaced, see :meth:`stage`; or, if no tag of the copy is known, to be
        compared, see :meth:`record_tag`.

        :return: as :meth:`next_transfers`.
        """

    def find_waiting(namespace: str = "") -> Deferred[Waiting]:
        """
        Find out whether anything is out of step, however many blobs there are.

        :return: fires with the statuses that occur of what waits, and with what :meth:`get_feed`
            gives at that moment.
        """

    def record_tag(blob_id: str, tag: bytes, namespace: str = "") -> Deferred[None]:
        """
        Record the tag of a copy that is SYNCED, if none is known.

        :param tag: 16 bytes: what sealing the copy gives.
        :return: fires when it is durable. Any other blob stays as it is.
        """

    def tag_to_delete(blob_id: str, namespace: str = "") -> Deferred[bytes | None]:
        """
        Look up which blob is PENDING_DELETE.

        :return: fires with the tag of the copy; of what is not here, with the one that changes had
            told of when it became PENDING_DELETE; with None if neither is known, or it has another
            status.
        """

    def get_flags(blob_id: str, namespace: str = "") -> Deferred[tuple[Flags, ...]]:
        """
        Look up the flags that the server told of last.

        :return: fires with them; with none if it has told of none, or nothing is recorded.
        """

    def retry_refused(namespace: str = "") -> Deferred[int]:
        """
        Make PENDING_UPLOAD what is FAILED_UPLOAD, unless the server has told of a blob of its id.

        :return: fires with the number of blobs, when it is durable.
        """

    def close() -> Deferred[None]:
        """
        End. What is under way fails with ``ClosedError`` or finishes.

        :return: fires when no thread is left and the database is closed. May be called twice.
        """
