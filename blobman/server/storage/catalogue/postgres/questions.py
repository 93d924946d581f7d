"""What a catalogue in PostgreSQL is asked: :class:`Questions`. Each is one statement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .....errors import BlobNotFoundError
from .....model import check_name
from .....protocol import ListQuery
from ....accounts.interface import Quotas, TokenInfo, Tokens, Usage
from ...interface import SMALL, BlobName, DamagedError, FlagList
from ..interface import LAST, PAGE, Change, Entry, History, Page, PayloadRow, StoreMark
from ..listing import order_of, read_page
from ..rows import check_entry, digit_of, payload_row, read_flags
from .sessions import Session

TOGETHER = 100
"""How many names are looked up at once; of more, most would be looked up in vain."""

_PLACE = """
    (SELECT place FROM places JOIN accounts USING (account)
        WHERE user_name = %(user)s AND namespace = %(namespace)s)
"""

# Before a blob: the bytes, and the large payloads, of those that were asked for before it.
_FIND = """
    SELECT size, tag, date, key, digest, body FROM (
        SELECT w.n, b.*,
            coalesce(sum(b.size) OVER earlier, 0) AS bytes,
            count(*) FILTER (WHERE b.key IS NOT NULL AND b.size > %(small)s) OVER earlier AS large
        FROM unnest(%(users)s::text[], %(namespaces)s::text[], %(ids)s::text[])
            WITH ORDINALITY AS w (user_name, namespace, id, n)
        LEFT JOIN LATERAL (
            -- Without statistics, the whole table might be read instead: OFFSET keeps it apart.
            SELECT blobs.* FROM accounts JOIN places USING (account) JOIN blobs USING (place)
            WHERE user_name = w.user_name AND namespace = w.namespace AND blobs.id = w.id OFFSET 0
        ) AS b ON true
        WINDOW earlier AS (ORDER BY w.n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    ) AS looked_up WHERE bytes < %(most)s AND large = 0 ORDER BY n
"""

_CHANGES = f"""
    (SELECT number, id, date, size, tag, flags FROM blobs
        WHERE place = {_PLACE} AND number > %(after)s AND number <= %(upto)s
        ORDER BY number LIMIT %(most)s)
    UNION ALL
    (SELECT number, id, date, NULL, tag, '' FROM tombstones
        WHERE place = {_PLACE} AND number > %(deleted)s AND number <= %(upto)s
        ORDER BY number LIMIT %(most)s)
    ORDER BY number LIMIT %(most)s
"""

_PAYLOADS = """
    SELECT b.place, a.user_name, p.namespace, b.id, b.key, b.size
    FROM blobs AS b JOIN places AS p USING (place) JOIN accounts AS a USING (account)
    WHERE (b.place, b.id) > (%s, %s) AND b.key IS NOT NULL ORDER BY b.place, b.id LIMIT %s
"""

_CLAIMED = """
    SELECT key FROM uploads WHERE key > %(after)s UNION
    SELECT key FROM garbage WHERE key > %(after)s ORDER BY key LIMIT %(most)s
"""

_HISTORY = f"""
    SELECT name, coalesce((SELECT number FROM places WHERE place = {_PLACE}), 0) FROM generations
"""


class Questions:
    """
    What can be asked; see :class:`~..interface.ICatalogue`.

    :param session: nobody else uses it meanwhile.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def _ask(self, statement: str, values: Any = ()) -> list[tuple[Any, ...]]:
        return self._session.execute(statement.encode(), values, binary=True).fetchall()

    # -- blobs -----------------------------------------------------------------------

    def find(self, names: Sequence[BlobName], most: int) -> list[Entry | None]:
        """Look names up."""
        found: list[Entry | None] = []
        try:
            for start in range(0, len(names), TOGETHER):
                some = names[start : start + TOGETHER]
                rows = self._look_up(some, most)
                for name, row in zip(some, rows, strict=False):
                    found.append(_checked_entry(name, row))
                    most -= row[0] or 0
                if len(rows) < len(some) or most <= 0:
                    break
        except DamagedError:
            # It is told when it is the turn of the damaged one.
            if not found:
                raise
        return found

    def _look_up(self, names: Sequence[BlobName], most: int) -> list[tuple[Any, ...]]:
        users, namespaces, ids = zip(*names, strict=True)
        wanted = {"users": [*users], "namespaces": [*namespaces], "ids": [*ids]}
        return self._ask(_FIND, {**wanted, "most": most, "small": SMALL})

    def get_flags(self, name: BlobName) -> FlagList:
        """Read flags."""
        rows = self._ask(
            f"SELECT flags FROM blobs WHERE place = {_PLACE} AND id = %(id)s",
            {"user": name.user, "namespace": name.namespace, "id": name.blob_id},
        )
        if not rows:
            raise BlobNotFoundError(f"no {name}")
        return read_flags(rows[0][0])

    # -- lists -------------------------------------------------------------------------

    def page(
        self, user: str, query: ListQuery, after: tuple[int, str] | None = None, most: int = PAGE
    ) -> Page:
        """List some ids."""
        sources = _sources(query)
        if not sources:
            return Page([], None)
        order = order_of(query)
        values = {**_in_place(user, query), "most": most}
        bound = ""
        if after is not None:
            names = order.columns.split(", ")
            values.update(zip(names, order.bounds(after), strict=True))
            bounds = ", ".join(f"%({name})s" for name in names)
            bound = f"AND ({order.columns}) {order.sign} ({bounds})"
        limited = f"ORDER BY {order.clause} LIMIT %(most)s"
        inner = " UNION ALL ".join(
            f"(SELECT {order.columns} FROM {it} {bound} {limited})" for it in sources
        )
        [(joined, date, number)] = self._ask(
            f"SELECT string_agg(id, ' '), {order.last_date}, count(*)"
            f" FROM (SELECT * FROM ({inner}) AS one {limited}) AS listed",
            values,
        )
        return read_page(joined, date, number == most)

    def count(self, user: str, query: ListQuery) -> int:
        """Count."""
        if query.flag is None:
            statement = (
                f"SELECT coalesce(sum({'deleted' if query.deleted else 'blobs'}), 0)::bigint"
                f" FROM places WHERE place = {_PLACE}"
            )
        else:
            sources = _sources(query) or ["blobs WHERE false"]
            statement = f"SELECT count(*) FROM {sources[0]}"
        return int(self._ask(statement, _in_place(user, query))[0][0])

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
        """List changes."""
        values = {"user": user, "namespace": namespace, "after": after, "most": most}
        deleted = max(after, deleted_after)
        return [
            Change(number, blob_id, date, size, tag, tuple(read_flags(flags)))
            for number, blob_id, date, size, tag, flags in self._ask(
                _CHANGES, {**values, "upto": upto, "deleted": deleted}
            )
        ]

    def history(self, user: str, namespace: str, generation: str = "") -> History:
        """Tell where a namespace stands."""
        [(drawn, number)] = self._ask(_HISTORY, {"user": user, "namespace": namespace})
        # After a failover, or a backup that was put back, some of what is known may not have been.
        name = f"{drawn}-{self._session.timeline}"
        return History(name, number, number if generation == name else None)

    def namespaces(self, user: str, after: str = "", most: int = PAGE) -> dict[str, int]:
        """List some namespaces."""
        return dict(
            self._ask(
                "SELECT namespace, blobs FROM places JOIN accounts USING (account)"
                " WHERE user_name = %s AND namespace > %s AND blobs > 0"
                " ORDER BY namespace LIMIT %s",
                (user, after, most),
            )
        )

    def numbers(self, places: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Tell the number of the latest change in each of these, where there was one."""
        users, namespaces = zip(*places, strict=True)
        rows = self._ask(
            "SELECT user_name, namespace, number FROM places JOIN accounts USING (account)"
            " JOIN unnest(%s::text[], %s::text[]) AS w (user_name, namespace)"
            " USING (user_name, namespace)",
            ([*users], [*namespaces]),
        )
        return {(user, namespace): number for user, namespace, number in rows}

    def payload_rows(
        self, after: tuple[int, str] | None = None, most: int = PAGE
    ) -> list[PayloadRow]:
        """List blobs that are payloads."""
        rows = self._ask(_PAYLOADS, (*(after or (0, "")), most))
        return [payload_row(*row) for row in rows]

    def claimed_keys(self, after: str = "", most: int = PAGE) -> list[str]:
        """List keys of uploads and of garbage."""
        return [key for (key,) in self._ask(_CLAIMED, {"after": after, "most": most})]

    def store_mark(self) -> StoreMark | None:
        """Tell which store of payloads is its."""
        for row in self._ask("SELECT mark, is_confirmed FROM store"):
            return StoreMark(*row)
        return None

    # -- space -------------------------------------------------------------------------

    def usage(self) -> list[Usage]:
        """Tell what users keep."""
        quotas = self.quotas()
        rows = self._ask(
            "SELECT user_name, sum(blobs)::bigint, used FROM accounts JOIN places USING (account)"
            " GROUP BY account HAVING sum(blobs) > 0 ORDER BY user_name"
        )
        return [Usage(user, blobs, size, quotas.of(user)) for user, blobs, size in rows]

    def quotas(self) -> Quotas:
        """Tell who may keep how much."""
        users = dict(self._ask("SELECT user_name, size FROM quotas ORDER BY user_name"))
        return Quotas(users.pop("", None), users)

    # -- who may come in -----------------------------------------------------------------

    def tokens(self, user: str | None) -> Tokens:
        """List tokens of a user, or of all."""
        if user is not None and not _is_name(user):
            # There is text that the database can't even be asked for.
            return []
        rows = self._ask(
            "SELECT user_name, id, created, digest, label FROM tokens"
            " WHERE %s::text IS NULL OR user_name = %s ORDER BY token",
            (user, user),
        )
        return [TokenInfo(*row) for row in rows]


def _is_name(user: str) -> bool:
    try:
        check_name("user", user)
    except ValueError:
        return False
    return True


def _in_place(user: str, query: ListQuery) -> dict[str, Any]:
    return {
        "user": user,
        "namespace": query.namespace,
        "digit": digit_of(query.flag) if query.flag else "",
    }


def _checked_entry(name: BlobName, row: tuple[Any, ...]) -> Entry | None:
    size, tag, date, key, digest, body = row
    if size is None:
        return None
    content, digests = (body, b"") if key is None else (None, body)
    entry = Entry(size, tag, date, content, key, digests)
    check_entry(name, entry, digest)
    return entry


def _sources(query: ListQuery) -> list[str]:
    """Give what a list is made from."""
    if query.deleted:
        # A deleted id has no flags.
        return (
            []
            if query.flag
            else [f"tombstones WHERE place = {_PLACE}", f"blobs WHERE place = {_PLACE} AND reused"]
        )
    if query.flag is None:
        return [f"blobs WHERE place = {_PLACE}"]
    return [f"blobs WHERE place = {_PLACE} AND flags <> '' AND strpos(flags, %(digit)s) > 0"]
