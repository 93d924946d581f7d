"""How a catalogue in PostgreSQL is changed: :class:`Changes`. Each is one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from .....errors import (
    BlobAlreadyExistsError,
    BlobError,
    BlobNotFoundError,
    QuotaExceededError,
    StoreError,
)
from .....model import Flags
from ...interface import BlobName, Outcomes, UnavailableError
from ...payloads.interface import LINGER
from ..interface import LEASE, POSTPONED, Publication, StoreMark
from ..rows import row_digest, write_flags
from .sessions import Session

_PUBLISH = (
    b"SELECT publish(%s, %s, %s::text[], %s::bigint[], %b::bytea[], %s::text[],"
    b" %b::bytea[], %b::bytea[], %s::text[])"
)


class Changes:
    """
    What can be changed; see :class:`~..interface.ICatalogue`.

    :param session: nobody else uses it meanwhile.
    :param linger: seconds for which the payloads of deleted blobs are kept.
    """

    def __init__(self, session: Session, linger: int = LINGER) -> None:
        self._session = session
        self._linger = linger

    def _run(self, statement: bytes, *values: Any) -> None:
        self._session.execute(statement, values)

    def _call(self, statement: bytes, *values: Any) -> Any:
        row = self._session.execute(statement, values).fetchone()
        assert row is not None
        return row[0]

    # -- blobs -----------------------------------------------------------------------

    def publish(self, blobs: Sequence[Publication]) -> Outcomes:
        """Make blobs visible."""
        order = sorted(range(len(blobs)), key=lambda number: blobs[number].name[:2])
        groups = [[*group] for _, group in groupby(order, lambda number: blobs[number].name[:2])]
        values = [it for group in groups for it in _columns([blobs[number] for number in group])]
        # One statement for all of them is one transaction.
        statement = b" UNION ALL ".join([_PUBLISH] * len(groups))
        outcomes: Outcomes = [None] * len(blobs)
        for group, (told,) in zip(groups, self._session.execute(statement, values), strict=True):
            for number, outcome in zip(group, told, strict=True):
                outcomes[number] = _read_outcome(outcome, blobs[number])
        return outcomes

    def delete(self, name: BlobName) -> None:
        """Remove a blob."""
        if not self._call(b"SELECT delete_blob(%s, %s, %s, %s)", *name, self._linger):
            raise BlobNotFoundError(f"no {name}")

    def set_flags(self, name: BlobName, flags: Sequence[Flags]) -> None:
        """Replace a blob's flags."""
        if not self._call(b"SELECT set_flags(%s, %s, %s, %s)", *name, write_flags(flags)):
            raise BlobNotFoundError(f"no {name}")

    # -- uploads and garbage -----------------------------------------------------------

    def reserve(self, name: BlobName, key: str, size: int) -> None:
        """Record an upload."""
        told = self._call(b"SELECT reserve(%s, %s, %s, %s, %s, %s)", *name, key, size, LEASE)
        _raise(_refusal(told, str(name), size))

    def extend(self, key: str, size: int) -> None:
        """Reserve more."""
        told = self._call(b"SELECT extend(%s, %s, %s)", key, size, LEASE)
        _raise(_refusal(told, "the blob", size))

    def renew(self, keys: Sequence[str]) -> None:
        """Prolong leases."""
        # One that is locked is being published, prolonged or ended at this moment.
        self._run(
            b"UPDATE uploads SET lease = seconds() + %s WHERE key IN"
            b" (SELECT key FROM uploads WHERE key = ANY(%s) FOR UPDATE SKIP LOCKED)",
            LEASE,
            [*keys],
        )

    def abandon(self, key: str) -> bool:
        """End an upload."""
        return bool(self._call(b"SELECT abandon(%s)", key))

    def collect(self, most: int) -> list[str]:
        """
        End uploads, and list garbage. Nobody else is told of the same keys for a while, so that
        several servers can clean up.
        """
        rows = self._session.execute(
            b"SELECT collect(%s, %s, %s)", (most, LEASE, max(self._linger, POSTPONED))
        )
        return [key for (key,) in rows]

    def forget(self, keys: Sequence[str], late: int = 0) -> None:
        """Forget garbage."""
        self._run(b"SELECT forget(%s::text[], %s)", [*keys], late)

    def postpone(self, keys: Sequence[str]) -> None:
        """Have garbage fall due later."""
        self._run(
            b"UPDATE garbage SET due = seconds() + %s, claimed = false WHERE key = ANY(%s)",
            POSTPONED,
            [*keys],
        )

    # -- the rest ----------------------------------------------------------------------

    def note_store_mark(self, mark: str) -> StoreMark:
        """Note the store of payloads."""
        noted, is_confirmed = self._session.execute(
            b"SELECT mark, is_confirmed FROM note_store_mark(%s)", (mark,)
        ).fetchall()[0]
        if noted is None:
            raise StoreError("the payloads of the catalogue are in a store already")
        return StoreMark(noted, is_confirmed)

    def confirm_store_mark(self) -> None:
        """Confirm it."""
        self._run(b"UPDATE store SET is_confirmed = true")

    def check_writing(self) -> None:
        """Write something."""
        self._run(b"UPDATE checks SET times = times + 1")

    def set_quota(self, user: str | None, size: int | None) -> None:
        """Set a quota."""
        self._run(
            b"INSERT INTO quotas VALUES (%s, %s)"
            b" ON CONFLICT (user_name) DO UPDATE SET size = excluded.size",
            user or "",
            size,
        )

    def unset_quota(self, user: str) -> None:
        """Remove a quota."""
        self._run(b"DELETE FROM quotas WHERE user_name = %s", user)

    def notify(self, messages: Sequence[str], channel: str) -> None:
        """Tell all servers something."""
        self._run(b"SELECT pg_notify(%s, it) FROM unnest(%s::text[]) AS it", channel, [*messages])


def _columns(blobs: Sequence[Publication]) -> list[Any]:
    """Give what the database needs of some blobs of one namespace."""
    bodies = [it.digests if it.content is None else it.content for it in blobs]
    digests = [
        row_digest(it.name, it.size, it.tag, it.key, body)
        for it, body in zip(blobs, bodies, strict=True)
    ]
    return [
        *blobs[0].name[:2],
        [it.name.blob_id for it in blobs],
        [it.size for it in blobs],
        [it.tag for it in blobs],
        [it.key or "" for it in blobs],
        digests,
        bodies,
        [write_flags(it.flags) for it in blobs],
    ]


def _read_outcome(outcome: str, blob: Publication) -> BlobError | None:
    return _refusal(outcome, str(blob.name), blob.size)


def _refusal(outcome: str, name: str, size: int) -> BlobError | None:
    """Say what the database's word means; None if it is none."""
    if outcome == "taken":
        return BlobAlreadyExistsError(f"{name} exists")
    if outcome == "full":
        return QuotaExceededError(f"{size} bytes do not fit the user's quota")
    if outcome == "late":
        return UnavailableError(f"the upload of {name} took too long", 1)
    return None


def _raise(error: BlobError | None) -> None:
    if error is not None:
        raise error
