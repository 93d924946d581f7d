"""
What else can be changed in a catalogue in PostgreSQL than blobs: :class:`Changes`.

Each is one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .....errors import (
    BlobAlreadyExistsError,
    BlobError,
    QuotaExceededError,
    StoreError,
)
from ...interface import BlobName, UnavailableError
from ...payloads.interface import LINGER
from ..interface import LEASE, POSTPONED, StoreMark
from .sessions import Session


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

    # -- uploads and garbage -----------------------------------------------------------

    def reserve(self, name: BlobName, key: str, size: int) -> None:
        """Record an upload."""
        told = self._call(b"SELECT reserve(%s, %s, %s, %s, %s, %s)", *name, key, size, LEASE)
        _raise(refusal(told, str(name), size))

    def extend(self, key: str, size: int) -> None:
        """Reserve more."""
        told = self._call(b"SELECT extend(%s, %s, %s)", key, size, LEASE)
        _raise(refusal(told, "the blob", size))

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


def refusal(outcome: str, name: str, size: int) -> BlobError | None:
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
