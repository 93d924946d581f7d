"""
What a catalogue is asked, on a connection of its own for each question.

A long list takes one statement for a page, whose ids SQLite joins: fetching a row each would keep
other threads from running.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import apsw

from ....errors import BlobNotFoundError
from ....protocol import ListQuery
from ...accounts.interface import Quotas, TokenInfo, Tokens, Usage
from ..interface import SMALL, BlobName, DamagedError, FlagList, UnavailableError
from .interface import LAST, PAGE, Change, Entry, History, Page, PayloadRow, StoreMark
from .listing import order_of, read_page
from .rows import check_entry, digit_of, payload_row, read_flags

_FIND = """
    SELECT w.key, b.size, b.tag, b.date, b.key, b.digest, d.digests, c.content
    FROM json_each(?) AS w
    CROSS JOIN places AS p ON p.user = w.value ->> 0 AND p.namespace = w.value ->> 1
    CROSS JOIN blobs AS b ON b.place = p.place AND b.id = w.value ->> 2
    LEFT JOIN digests AS d ON d.blob = b.blob
    LEFT JOIN contents AS c ON c.blob = b.blob
"""

_PAYLOADS = """
    SELECT b.place, p.user, p.namespace, b.id, b.key, b.size
    FROM blobs AS b JOIN places AS p USING (place)
    WHERE (b.place, b.id) > (?, ?) AND b.key IS NOT NULL ORDER BY b.place, b.id LIMIT ?
"""

_CLAIMED = """
    SELECT key FROM uploads WHERE key > ?1 UNION SELECT key FROM garbage WHERE key > ?1
    ORDER BY key LIMIT ?2
"""

_CHANGES = """
    SELECT number, id, date, size, tag, flags FROM blobs
        WHERE place = ?1 AND number > ?2 AND number <= ?4
    UNION ALL
    SELECT number, id, date, NULL, tag, '' FROM tombstones
        WHERE place = ?1 AND number > max(?2, ?5) AND number <= ?4
    ORDER BY number LIMIT ?3
"""

_HISTORY = """
    SELECT
        (SELECT name FROM generations ORDER BY first DESC LIMIT 1),
        ifnull((SELECT number FROM places WHERE user = ?1 AND namespace = ?2), 0),
        (SELECT first FROM generations WHERE name = ?3),
        (SELECT min(first) FROM generations
            WHERE first > (SELECT first FROM generations WHERE name = ?3))
"""


class Generation(NamedTuple):
    """
    A span of the history during which numbers were given without interruption.

    :ivar name: random, and never drawn twice.
    :ivar first: the first number that was, or will be, given in it.
    """

    name: str
    first: int


class Questions:
    """
    What can be asked.

    :param connection: nobody else uses it meanwhile.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def _ask(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement, values).fetchall()

    def _place(self, user: str, namespace: str) -> tuple[int, int, int] | None:
        """Give a namespace's key and its numbers of blobs and of deleted ids."""
        rows = self._ask(
            "SELECT place, blobs, deleted FROM places WHERE user = ? AND namespace = ?",
            (user, namespace),
        )
        return (rows[0][0], rows[0][1], rows[0][2]) if rows else None

    # -- blobs -----------------------------------------------------------------------

    def find(self, names: Sequence[BlobName], most: int) -> list[Entry | None]:
        """Look names up; see :class:`~.interface.ICatalogue`."""
        try:
            with closing(self._connection.execute(_FIND, (json.dumps(names),))) as rows:
                return _take(names, rows, most)
        except (apsw.CorruptError, DamagedError):
            if len(names) == 1:
                raise
        # It is told when it is the turn of the damaged one.
        return self.find(names[:1], most)

    def get_flags(self, name: BlobName) -> FlagList:
        """Read flags; see :class:`~.interface.ICatalogue`."""
        rows = self._ask(
            "SELECT flags FROM places JOIN blobs USING (place)"
            " WHERE user = ? AND namespace = ? AND id = ?",
            name,
        )
        if not rows:
            raise BlobNotFoundError(f"no {name}")
        return read_flags(rows[0][0])

    # -- lists -------------------------------------------------------------------------

    def page(
        self, user: str, query: ListQuery, after: tuple[int, str] | None = None, most: int = PAGE
    ) -> Page:
        """List some ids; see :class:`~.interface.ICatalogue`."""
        place = self._place(user, query.namespace)
        sources = _sources(query)
        if place is None or not sources:
            return Page([], None)
        order = order_of(query)
        bounds = () if after is None else order.bounds(after)
        bound = f" AND ({order.columns}) {order.sign} ({', '.join('?' * len(bounds))})"
        selects, values = [], []
        for source, own_values in sources:
            selects.append(f"SELECT {order.columns} FROM {source}{bound if bounds else ''}")
            values += [place[0], *own_values, *bounds]
        inner = " UNION ALL ".join(selects)
        joined, date, number = self._ask(
            f"SELECT group_concat(id, ' '), {order.last_date}, count(*) FROM"
            f" ({inner} ORDER BY {order.clause} LIMIT ?)",
            [*values, most],
        )[0]
        return read_page(joined, date, number == most)

    def count(self, user: str, query: ListQuery) -> int:
        """Count; see :class:`~.interface.ICatalogue`."""
        place = self._place(user, query.namespace)
        if place is None:
            return 0
        if query.flag is None:
            return place[2] if query.deleted else place[1]
        return sum(
            self._ask(f"SELECT count(*) FROM {source}", (place[0], *values))[0][0]
            for source, values in _sources(query)
        )

    # -- the order of changes ----------------------------------------------------------

    def changes(
        self,
        user: str,
        namespace: str,
        after: int,
        most: int,
        upto: int = LAST,
        deleted_after: int = 0,
    ) -> list[Change]:
        """List changes; see :class:`~.interface.ICatalogue`."""
        place = self._place(user, namespace)
        if place is None:
            return []
        return [
            Change(number, blob_id, date, size, tag, tuple(read_flags(flags)))
            for number, blob_id, date, size, tag, flags in self._ask(
                _CHANGES, (place[0], after, most, upto, deleted_after)
            )
        ]

    def history(self, user: str, namespace: str, generation: str = "") -> History:
        """Tell where a namespace stands; see :class:`~.interface.ICatalogue`."""
        latest, number, first, following = self._ask(_HISTORY, (user, namespace, generation))[0]
        if latest is None:
            raise UnavailableError("the catalogue could not be written when it was opened")
        reach = None
        if first is not None:
            reach = number if following is None else min(number, following - 1)
        return History(latest, number, reach)

    def namespaces(self, user: str, after: str = "", most: int = PAGE) -> dict[str, int]:
        """List some namespaces; see :class:`~.interface.ICatalogue`."""
        return dict(
            self._ask(
                "SELECT namespace, blobs FROM places WHERE user = ? AND namespace > ?"
                " AND blobs > 0 ORDER BY namespace LIMIT ?",
                (user, after, most),
            )
        )

    def generations(self) -> list[Generation]:
        """
        List the generations, oldest first. The very first one is recorded when the catalogue is
        made, each other one with its first change.
        """
        rows = self._ask("SELECT name, first FROM generations ORDER BY first")
        return [Generation(*row) for row in rows]

    def last_number(self) -> int:
        """Tell the last number that was given; 0 if none was."""
        return int(self._ask("SELECT ifnull(max(number), 0) FROM places")[0][0])

    def payload_rows(
        self, after: tuple[int, str] | None = None, most: int = PAGE
    ) -> list[PayloadRow]:
        """List blobs that are payloads; see :class:`~.interface.ICatalogue`."""
        rows = self._ask(_PAYLOADS, (*(after or (0, "")), most))
        return [payload_row(*row) for row in rows]

    def claimed_keys(self, after: str = "", most: int = PAGE) -> list[str]:
        """List keys of uploads and of garbage; see :class:`~.interface.ICatalogue`."""
        return [key for (key,) in self._ask(_CLAIMED, (after, most))]

    def store_mark(self) -> StoreMark | None:
        """Tell which store of payloads is its; see :class:`~.interface.ICatalogue`."""
        for mark, is_confirmed in self._ask("SELECT mark, is_confirmed FROM store"):
            return StoreMark(mark, bool(is_confirmed))
        return None

    # -- space -------------------------------------------------------------------------

    def usage(self) -> list[Usage]:
        """Tell what users keep; see :class:`~.interface.ICatalogue`."""
        quotas = self.quotas()
        rows = self._ask(
            "SELECT user, sum(blobs), sum(size) FROM places GROUP BY user HAVING sum(blobs)"
        )
        return [Usage(user, blobs, size, quotas.of(user)) for user, blobs, size in rows]

    def quotas(self) -> Quotas:
        """Tell who may keep how much; see :class:`~.interface.ICatalogue`."""
        users = dict(self._ask("SELECT user, size FROM quotas ORDER BY user"))
        return Quotas(users.pop("", None), users)

    # -- who may come in -----------------------------------------------------------------

    def tokens(self, user: str | None) -> Tokens:
        """List tokens of a user, or of all; see :class:`~.interface.ICatalogue`."""
        rows = self._ask(
            "SELECT user, id, created, digest, label FROM tokens"
            f" {'' if user is None else 'WHERE user = ?'} ORDER BY token",
            () if user is None else (user,),
        )
        return [TokenInfo(*row) for row in rows]


def _take(
    names: Sequence[BlobName], rows: Iterable[tuple[Any, ...]], most: int
) -> list[Entry | None]:
    """Read no more rows than are wanted, so that no content is read in vain."""
    found: list[Entry | None] = []
    for number, size, tag, date, key, digest, digests, content in rows:
        found += [None] * (number - len(found))
        entry = Entry(
            size, tag, date, (content or b"") if key is None else None, key, digests or b""
        )
        check_entry(names[number], entry, digest)
        found.append(entry)
        most -= size
        if most <= 0 or (key is not None and size > SMALL):
            return found
    return found + [None] * (len(names) - len(found))


def _sources(query: ListQuery) -> list[tuple[str, tuple[str, ...]]]:
    """Give what a list is made from, and for each the values after that of the place."""
    if query.deleted:
        reused = "blobs INDEXED BY blobs_reused WHERE place = ? AND reused"
        # A deleted id has no flags.
        return [] if query.flag else [("tombstones WHERE place = ?", ()), (reused, ())]
    if query.flag is None:
        return [("blobs WHERE place = ?", ())]
    flagged = (
        "blobs INDEXED BY blobs_with_flags WHERE place = ? AND flags <> '' AND instr(flags, ?)"
    )
    return [(flagged, (digit_of(query.flag),))]
