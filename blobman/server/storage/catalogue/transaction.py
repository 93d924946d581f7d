"""
The changes of a catalogue, as they are made in one transaction.

Every method either does all of what it says, or raises before it has written anything; or SQLite
raises, and the whole transaction is taken back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import apsw

from ....errors import (
    BlobAlreadyExistsError,
    BlobError,
    BlobNotFoundError,
    QuotaExceededError,
    StoreError,
)
from ....model import Flags
from ..interface import BlobName, Outcomes, UnavailableError
from ..payloads.interface import LINGER
from .interface import LEASE, POSTPONED, Publication, StoreMark
from .places import Place, Places
from .rows import row_digest, write_flags

SECOND = 1_000_000_000

_STEPS = (64, 16, 4, 1)
"""How many rows one statement inserts: few statements, of few forms."""


def in_steps(rows: Sequence[Sequence[Any]]) -> Iterable[tuple[int, list[Any]]]:
    """Divide rows into runs; give the length of each, and its values one after another."""
    start = 0
    for step in _STEPS:
        while len(rows) - start >= step:
            run = rows[start : start + step]
            yield step, [value for row in run for value in row]
            start += step


class Transaction:
    """
    One transaction.

    :param connection: has begun it.
    :param last: the last number that has been given.
    :param now: nanoseconds since the epoch.
    :param latest: the latest date that has been given; likewise.
    :param linger: seconds for which the payloads of deleted blobs are kept.
    :ivar last: the last number that has been given, now.
    :ivar latest: the latest date that has been given, now.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        last: int,
        now: int,
        latest: int = 0,
        linger: int = LINGER,
    ) -> None:
        self._connection = connection
        self._linger = linger
        self._places = Places(connection)
        self._first = last
        self._now = now // SECOND
        self.last = last
        # Dates do not go back, whatever the clock does: the order of puts stays that of dates.
        self.latest = max(now, latest)

    def _run(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement, values).fetchall()

    def _insert(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        for number, values in in_steps(rows):
            places = f"({', '.join('?' * len(rows[0]))})"
            self._run(f"INSERT INTO {table} VALUES {', '.join([places] * number)}", values)

    def changed(self) -> list[tuple[str, str]]:
        """Give the users and namespaces in which something was changed."""
        return self._places.changed_since(self._first)

    def finish(self) -> None:
        """Write what is written once for all changes."""
        self._places.write()

    # -- publishing --------------------------------------------------------------------

    def publish(self, blobs: Sequence[Publication]) -> Outcomes:
        """Make blobs visible; see :class:`~.interface.ICatalogue`."""
        names = [blob.name for blob in blobs]
        taken = self._taken(names)
        reserved = self._reserved([blob.key for blob in blobs if blob.key])
        outcomes: Outcomes = []
        accepted: list[Publication] = []
        for blob in blobs:
            error = self._judge(blob, taken, reserved)
            outcomes.append(error)
            if error is None:
                accepted.append(blob)
                taken.add(blob.name)
        self._end_uploads(blobs, accepted, reserved)
        self._write(accepted)
        return outcomes

    def _judge(
        self, blob: Publication, taken: set[BlobName], reserved: dict[str, tuple[str, int]]
    ) -> BlobError | None:
        """Say why a blob is not accepted; or take its space, and give None."""
        if blob.name in taken:
            return BlobAlreadyExistsError(f"{blob.name} exists")
        if blob.key is not None and blob.key not in reserved:
            return UnavailableError(f"the upload of {blob.name} took too long", 1)
        held = reserved[blob.key][1] if blob.key is not None else 0
        account = self._places.account(blob.name.user)
        try:
            account.check(blob.size - held)
        except QuotaExceededError as error:
            return error
        account.used += blob.size
        account.reserved -= held
        return None

    def _taken(self, names: Sequence[BlobName]) -> set[BlobName]:
        """Tell which names are taken."""
        places = {name[:2]: self._places.find(*name[:2]) for name in names}
        wanted = [
            (place.place, name.blob_id) for name in names if (place := places[name[:2]]) is not None
        ]
        if not wanted:
            return set()
        found = self._run(
            "SELECT b.place, b.id FROM json_each(?) AS w CROSS JOIN blobs AS b"
            " ON b.place = w.value ->> 0 AND b.id = w.value ->> 1",
            (json.dumps(wanted),),
        )
        where = {place.place: it for it, place in places.items() if place is not None}
        return {BlobName(*where[place], blob_id) for place, blob_id in found}

    def _reserved(self, keys: Sequence[str]) -> dict[str, tuple[str, int]]:
        """Give the user and the bytes of uploads that have not ended."""
        if not keys:
            return {}
        found = self._run(
            "SELECT u.key, u.user, u.size FROM json_each(?) AS w"
            " CROSS JOIN uploads AS u ON u.key = w.value",
            (json.dumps(keys),),
        )
        return {key: (user, size) for key, user, size in found}

    def _end_uploads(
        self,
        blobs: Sequence[Publication],
        accepted: Sequence[Publication],
        reserved: dict[str, tuple[str, int]],
    ) -> None:
        """Free what was reserved; the payloads of those that were not accepted are garbage."""
        if not reserved:
            return
        kept = {blob.key for blob in accepted}
        for key in reserved:
            if key in kept:
                self._run("DELETE FROM uploads WHERE key = ?", (key,))
            else:
                self.abandon(key)

    def _write(self, blobs: Sequence[Publication]) -> None:
        if not blobs:
            return
        reused = self._remove_tombstones(blobs)
        rows: list[tuple[Any, ...]] = []
        contents: list[tuple[int, bytes]] = []
        digests: list[tuple[int, bytes]] = []
        for blob in blobs:
            body = blob.digests if blob.content is None else blob.content
            place = self._places.make(*blob.name[:2])
            number = self._next_number(place)
            place.blobs += 1
            place.size += blob.size
            rows.append(
                (
                    number,
                    place.place,
                    blob.name.blob_id,
                    number,
                    self._next_date(),
                    blob.size,
                    blob.tag,
                    blob.key,
                    row_digest(blob.name, blob.size, blob.tag, blob.key, body),
                    write_flags(blob.flags),
                    (place.place, blob.name.blob_id) in reused,
                )
            )
            (digests if blob.content is None else contents).append((number, body))
        self._insert("blobs", rows)
        self._insert("contents", contents)
        self._insert("digests", digests)

    def _remove_tombstones(self, blobs: Sequence[Publication]) -> set[tuple[int, str]]:
        """Remove the tombstones of ids that are used again, and tell whose there were."""
        places = [self._places.make(*blob.name[:2]) for blob in blobs]
        wanted = [
            (place.place, blob.name.blob_id)
            for place, blob in zip(places, blobs, strict=True)
            if place.deleted
        ]
        if not wanted:
            return set()
        found = self._run(
            "DELETE FROM tombstones WHERE (place, id) IN"
            " (SELECT value ->> 0, value ->> 1 FROM json_each(?)) RETURNING place, id",
            (json.dumps(wanted),),
        )
        return {(place, blob_id) for place, blob_id in found}

    def _next_number(self, place: Place) -> int:
        self.last += 1
        place.number = self.last
        return self.last

    def _next_date(self) -> int:
        self.latest += 1
        return self.latest

    # -- changing ----------------------------------------------------------------------

    def _find(self, name: BlobName) -> tuple[Place, int, int, bytes, str | None, bool]:
        place = self._places.find(*name[:2])
        rows = place and self._run(
            "SELECT blob, size, tag, key, reused FROM blobs WHERE place = ? AND id = ?",
            (place.place, name.blob_id),
        )
        if place is None or not rows:
            raise BlobNotFoundError(f"no {name}")
        return (place, *rows[0])

    def delete(self, name: BlobName) -> None:
        """Remove a blob; see :class:`~.interface.ICatalogue`."""
        place, blob, size, tag, key, reused = self._find(name)
        for table in ("blobs", "contents" if key is None else "digests"):
            self._run(f"DELETE FROM {table} WHERE blob = ?", (blob,))
        if key is not None:
            self._insert("garbage", [(key, self._now + self._linger)])
        number = self._next_number(place)
        self._insert("tombstones", [(place.place, name.blob_id, number, self._next_date(), tag)])
        place.blobs -= 1
        place.size -= size
        # One whose id had been deleted before was counted as such already.
        place.deleted += not reused
        self._places.account(name.user).used -= size

    def set_flags(self, name: BlobName, flags: Sequence[Flags]) -> None:
        """Replace a blob's flags; see :class:`~.interface.ICatalogue`."""
        place, blob, *_ = self._find(name)
        self._run(
            "UPDATE blobs SET flags = ?, number = ? WHERE blob = ?",
            (write_flags(flags), self._next_number(place), blob),
        )

    # -- uploads and garbage -----------------------------------------------------------

    def _lease(self) -> int:
        return self._now + LEASE

    def reserve(self, name: BlobName, key: str, size: int) -> None:
        """Record an upload; see :class:`~.interface.ICatalogue`."""
        if self._taken([name]):
            raise BlobAlreadyExistsError(f"{name} exists")
        account = self._places.account(name.user)
        account.check(size)
        self._insert("uploads", [(key, name.user, size, self._lease())])
        account.reserved += size

    def extend(self, key: str, size: int) -> None:
        """Reserve more; see :class:`~.interface.ICatalogue`."""
        upload = self._reserved([key]).get(key)
        if upload is None:
            raise UnavailableError("the upload took too long", 1)
        user, reserved = upload
        account = self._places.account(user)
        account.check(size - reserved)
        self._run(
            "UPDATE uploads SET size = ?, lease = ? WHERE key = ?", (size, self._lease(), key)
        )
        account.reserved += size - reserved

    def renew(self, keys: Sequence[str]) -> None:
        """Prolong leases; see :class:`~.interface.ICatalogue`."""
        self._run(
            "UPDATE uploads SET lease = ? WHERE key IN (SELECT value FROM json_each(?))",
            (self._lease(), json.dumps(keys)),
        )

    def abandon(self, key: str) -> bool:
        """End an upload; see :class:`~.interface.ICatalogue`."""
        upload = self._reserved([key]).get(key)
        if upload is None:
            return bool(self._run("SELECT 1 FROM garbage WHERE key = ? AND due = 0", (key,)))
        user, size = upload
        # It is looked up with this upload in it.
        self._places.account(user).reserved -= size
        self._run("DELETE FROM uploads WHERE key = ?", (key,))
        self._insert("garbage", [(key, 0)])
        return True

    def collect(self, most: int) -> list[str]:
        """End uploads, and list garbage; see :class:`~.interface.ICatalogue`."""
        self._correct_times()
        ended = self._run("SELECT key FROM uploads WHERE lease < ? LIMIT ?", (self._now, most))
        for (key,) in ended:
            self.abandon(key)
        due = self._run(
            "SELECT key FROM garbage WHERE due <= ? ORDER BY due LIMIT ?", (self._now, most)
        )
        return [key for (key,) in due]

    def _correct_times(self) -> None:
        """Wait no longer than ever for what was noted while the clock was ahead."""
        lease, due = self._lease(), self._now + max(self._linger, POSTPONED)
        self._run("UPDATE uploads SET lease = ?1 WHERE lease > ?1", (lease,))
        self._run("UPDATE garbage SET due = ?1 WHERE due > ?1", (due,))

    def end_all_uploads(self) -> None:
        """Let the leases of all uploads run out: those who wrote them are gone."""
        self._run("UPDATE uploads SET lease = 0")

    def forget(self, keys: Sequence[str], late: int = 0) -> None:
        """Forget garbage; see :class:`~.interface.ICatalogue`."""
        which = "key IN (SELECT value FROM json_each(?1))"
        listed = json.dumps(keys)
        # Two may have removed the same payload: the later one leaves what may still turn up.
        gone = "(?2 = 0 OR due BETWEEN 1 AND ?3)"
        self._run(f"DELETE FROM garbage WHERE {which} AND {gone}", (listed, late, self._now))
        again = self._now + late
        self._run(f"UPDATE garbage SET due = ?2 WHERE {which} AND due = 0", (listed, again))

    def postpone(self, keys: Sequence[str]) -> None:
        """Have garbage fall due later; see :class:`~.interface.ICatalogue`."""
        self._run(
            "UPDATE garbage SET due = ? WHERE key IN (SELECT value FROM json_each(?))",
            (self._now + POSTPONED, json.dumps(keys)),
        )

    # -- the rest ----------------------------------------------------------------------

    def check_writing(self) -> None:
        """Write something; see :class:`~.interface.ICatalogue`."""
        self._run("INSERT INTO checks VALUES (1, 1) ON CONFLICT DO UPDATE SET times = times + 1")

    def note_store_mark(self, mark: str) -> StoreMark:
        """Note the store of payloads; see :class:`~.interface.ICatalogue`."""
        if self._run(
            "SELECT 1 FROM blobs WHERE key IS NOT NULL UNION ALL SELECT 1 FROM uploads"
            " UNION ALL SELECT 1 FROM garbage LIMIT 1"
        ):
            raise StoreError("the payloads of the catalogue are beside it, not in another store")
        self._run("INSERT INTO store VALUES (1, ?, 0) ON CONFLICT DO NOTHING", (mark,))
        ((mark, is_confirmed),) = self._run("SELECT mark, is_confirmed FROM store")
        return StoreMark(mark, bool(is_confirmed))

    def confirm_store_mark(self) -> None:
        """Confirm it; see :class:`~.interface.ICatalogue`."""
        self._run("UPDATE store SET is_confirmed = 1")

    def set_quota(self, user: str | None, size: int | None) -> None:
        """Set a quota; see :class:`~.interface.ICatalogue`."""
        self._run("INSERT OR REPLACE INTO quotas VALUES (?, ?)", (user or "", size))

    def unset_quota(self, user: str) -> None:
        """Remove a quota; see :class:`~.interface.ICatalogue`."""
        self._run("DELETE FROM quotas WHERE user = ?", (user,))
