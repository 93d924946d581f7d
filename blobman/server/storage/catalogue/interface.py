"""
What a catalogue has to do: the truth about blobs, users' space, uploads and the order of changes.

Every method that changes something is one transaction, durable when its Deferred fires. Changes of
several callers may be committed together; each of them fails by itself. Reading never waits for a
change, and sees only what is durable.

All methods can fail with ``UnavailableError``, with ``DamagedError`` if rows that they need do not
verify, and with ``ClosedError``. What cancelling does is said in ``storage.interface``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from ....model import Flags
from ....protocol import ListQuery
from ...accounts.interface import Quotas, Tokens, Usage
from ..interface import BlobName, FlagList, Outcomes, Queries, Sessions
from ..waking import IWaking

PAGE = 1000
"""How many ids of a list are read at once: as JSON they are less than 256 KiB."""


LAST = 2**63 - 1
"""No number is larger."""

LEASE = 600
"""Seconds after which an upload whose lease nobody renews has ended."""

POSTPONED = 3600
"""Seconds after which it is tried again to remove what could not be removed."""


class Publication(NamedTuple):
    """
    A blob that is to become visible.

    :ivar size: its bytes.
    :ivar tag: its last 16 bytes.
    :ivar content: all of it, if the catalogue is to keep it.
    :ivar key: else the key of its payload, which has been reserved, and is durable.
    :ivar digests: the digests of the payload's chunks, one after another; see ``digests``.
    """

    name: BlobName
    size: int
    tag: bytes
    content: bytes | None = None
    key: str | None = None
    digests: bytes = b""
    flags: tuple[Flags, ...] = ()


class Entry(NamedTuple):
    """
    What is recorded of a blob that is there.

    :ivar date: when it was put, in nanoseconds since the epoch.
    :ivar content: all of it, if the catalogue keeps it and it was asked for.
    :ivar key: the key of its payload, if the catalogue does not keep it.
    :ivar digests: of the payload's chunks; empty if none were recorded, as of adopted files.
    """

    size: int
    tag: bytes
    date: int
    content: bytes | None
    key: str | None
    digests: bytes


class Page(NamedTuple):
    """
    Some ids of a list.

    :ivar ids: in the order that was asked for.
    :ivar after: where the next page begins; None if this is the last one.
    """

    ids: list[str]
    after: tuple[int, str] | None


class Change(NamedTuple):
    """
    The latest change of an id.

    :ivar number: its place in the order of changes.
    :ivar date: when the blob was put, or deleted, in nanoseconds since the epoch.
    :ivar size: the blob's bytes; None if it was deleted.
    :ivar tag: the blob's; of a deletion, that of the blob that was deleted.
    """

    number: int
    blob_id: str
    date: int
    size: int | None
    tag: bytes
    flags: tuple[Flags, ...]


class History(NamedTuple):
    """
    Where a namespace stands.

    :ivar generation: the name of the latest generation that is recorded. A generation is a span of
        the history in which numbers were given without interruption; its name is drawn at random.
    :ivar number: that of the latest change in the namespace; 0 if there was none.
    :ivar reach: the largest number up to which the history of the namespace is known to whoever
        knows the generation that was asked for; None if there is no such generation here.
    """

    generation: str
    number: int
    reach: int | None


class PayloadRow(NamedTuple):
    """
    A blob whose content is a payload.

    :ivar place: where it is in the order in which they are listed.
    """

    place: tuple[int, str]
    name: BlobName
    key: str
    size: int


class StoreMark(NamedTuple):
    """
    By what a catalogue knows its store of payloads.

    :ivar is_confirmed: whether the store is known to bear it; else it may not have got it yet.
    """

    mark: str
    is_confirmed: bool


class ICatalogue(Interface):
    """A catalogue."""

    waking: IWaking = Attribute("Tells, after each commit, where something has changed.")
    queries: Queries = Attribute("See :class:`~..interface.IBlobsBackend`.")

    def sessions() -> Sessions:
        """Tell how many connections there are; see :class:`~..interface.IBlobsBackend`."""

    def open() -> Deferred[None]:
        """
        Begin. All uploads that an earlier process left are ended, if there can be no other one.

        :return: fires when ready. Fails with ``StoreError`` if another process has it, or if
            changes that were acknowledged are missing.
        """

    def close() -> Deferred[None]:
        """
        End. What has not begun fails with ``ClosedError``.

        :return: fires when what was under way is done. May be called twice.
        """

    def check_writing() -> Deferred[None]:
        """
        Make a small durable change.

        :return: fires when that is done.
        """

    # -- blobs -----------------------------------------------------------------------

    def publish(blobs: Sequence[Publication]) -> Deferred[Outcomes]:
        """
        Make blobs visible, each as if by itself. Its reservation becomes used space, the tombstone
        of its id goes, and it takes the next number.

        :return: fires with None for each that is visible now, or else its
            ``BlobAlreadyExistsError``, ``QuotaExceededError`` (only for what was not reserved) or
            ``UnavailableError`` (its reservation has ended).
        """

    def delete(name: BlobName) -> Deferred[None]:
        """
        Remove a blob with its flags, and leave a tombstone. The key of its payload becomes garbage
        that is due after a while.

        :return: fires when that is done. Fails with ``BlobNotFoundError``.
        """

    def set_flags(name: BlobName, flags: Sequence[Flags]) -> Deferred[None]:
        """
        Replace a blob's flags.

        :return: fires when that is done. Fails with ``BlobNotFoundError``.
        """

    def get_flags(name: BlobName) -> Deferred[FlagList]:
        """
        Read a blob's flags.

        :return: fires with them. Fails with ``BlobNotFoundError``.
        """

    def find(names: Sequence[BlobName], most: int) -> Deferred[list[Entry | None]]:
        """
        Look names up in their order, until they have ``most`` bytes, or with the first that is a
        payload and not :data:`~..interface.SMALL`.

        :param names: at least one; not all may be looked at.
        :return: fires with what is recorded of the first and perhaps of some after it, None for
            what is not there. Fails only with what concerns the first.
        """

    def page(
        user: str, query: ListQuery, after: tuple[int, str] | None = None, most: int = PAGE
    ) -> Deferred[Page]:
        """
        List some ids of blobs, or of tombstones and of blobs whose id had been deleted before.

        :param after: the ``after`` of the page before; None to begin.
        :return: fires with a page.
        """

    def count(user: str, query: ListQuery) -> Deferred[int]:
        """
        Count what pages list.

        :return: fires with the number. It takes no longer for more blobs, unless by flag.
        """

    # -- the order of changes --------------------------------------------------------

    def changes(
        user: str,
        namespace: str,
        after: int,
        most: int,
        upto: int = LAST,
        deleted_after: int = 0,
    ) -> Deferred[list[Change]]:
        """
        List the latest change of each id, in the order of the numbers.

        Numbers have the order of commits: whatever is committed after this was read has a larger
        one than all that were read.

        :param after: a number; those after it are listed.
        :param upto: the last number that is listed.
        :param deleted_after: of deletions, only those after this number are listed.
        :return: fires with at most ``most`` changes.
        """

    def history(user: str, namespace: str, generation: str = "") -> Deferred[History]:
        """
        Tell where a namespace stands.

        :param generation: the name of one that may be known here.
        :return: fires with that. It takes no longer for more blobs, changes or generations.
        """

    def namespaces(user: str, after: str = "", most: int = PAGE) -> Deferred[dict[str, int]]:
        """
        List some namespaces of a user that have blobs, by name.

        :param after: the last name of the page before; empty to begin.
        :return: fires with how many blobs each has.
        """

    # -- uploads and garbage ---------------------------------------------------------

    def reserve(name: BlobName, key: str, size: int) -> Deferred[None]:
        """
        Record that a payload is going to be written, and reserve space for it.

        :param key: one that has never been used.
        :return: fires when that is done. Fails with ``BlobAlreadyExistsError`` or
            ``QuotaExceededError``.
        """

    def extend(key: str, size: int) -> Deferred[None]:
        """
        Reserve more space for an upload.

        :param size: the bytes in all.
        :return: fires when that is done. Fails with ``QuotaExceededError``, or ``UnavailableError``
            if its reservation has ended.
        """

    def renew(keys: Sequence[str]) -> Deferred[None]:
        """
        Prolong the leases of uploads that are under way; those that have ended stay so.

        :return: fires when that is done.
        """

    def abandon(key: str) -> Deferred[bool]:
        """
        End an upload that has not been published: its space is free again, and its key is garbage
        that is due.

        :return: fires with whether its payload may be removed now: not if it was published.
        """

    def collect(most: int) -> Deferred[list[str]]:
        """
        End the uploads whose leases have run out, and list garbage that is due.

        :return: fires with at most ``most`` keys, whose payloads may be removed.
        """

    def forget(keys: Sequence[str], late: int = 0) -> Deferred[None]:
        """
        Forget garbage whose payloads have been removed.

        :param late: seconds for which the payload of an upload that was not published may still
            turn up. If it is not 0, these are due once more after that time.
        :return: fires when that is done.
        """

    def postpone(keys: Sequence[str]) -> Deferred[None]:
        """
        Have garbage whose payloads can't be removed fall due later, so that it is in no other
        one's way.

        :return: fires when that is done.
        """

    # -- the store of payloads ---------------------------------------------------------

    def store_mark() -> Deferred[StoreMark | None]:
        """
        Tell which store of payloads is this catalogue's, if it is apart from it.

        :return: fires with its mark; None if none was noted.
        """

    def payload_rows(
        after: tuple[int, str] | None = None, most: int = PAGE
    ) -> Deferred[list[PayloadRow]]:
        """
        List some blobs whose content is a payload; for who compares.

        :param after: the ``place`` of the last one of the page before; None to begin.
        :return: fires with at most ``most``; with none at the end.
        """

    def claimed_keys(after: str = "", most: int = PAGE) -> Deferred[list[str]]:
        """
        List some keys of uploads and of garbage, in their order.

        :param after: the last one of the page before; empty to begin.
        :return: fires with at most ``most``; with none at the end.
        """

    def note_store_mark(mark: str) -> Deferred[StoreMark]:
        """
        Note which one it is, if none was noted before.

        :return: fires with what is noted now. Fails with ``StoreError`` if there are payloads:
            they are where the catalogue is.
        """

    def confirm_store_mark() -> Deferred[None]:
        """
        Note that the store bears the mark.

        :return: fires when that is done.
        """

    # -- space -----------------------------------------------------------------------

    def usage() -> Deferred[list[Usage]]:
        """
        Tell what users keep.

        :return: fires with an item for each that has blobs, by name.
        """

    def quotas() -> Deferred[Quotas]:
        """
        Tell who may keep how much.

        :return: fires with that.
        """

    def set_quota(user: str | None, size: int | None) -> Deferred[None]:
        """
        Set a quota; it counts from the next transaction on.

        :param user: None for the default one.
        :param size: bytes, or None for no limit.
        :return: fires when that is done.
        """

    def unset_quota(user: str) -> Deferred[None]:
        """
        Give a user the default quota again.

        :return: fires when that is done.
        """

    # -- who may come in ---------------------------------------------------------------

    def tokens(user: str) -> Deferred[Tokens]:
        """
        List the tokens of a user, in the order in which they were made.

        :return: fires with them.
        """
