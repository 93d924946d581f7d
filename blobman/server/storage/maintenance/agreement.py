"""What a catalogue says twice, and how it is made to say the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import apsw

from ....sqlite import ask


class _Rule(NamedTuple):
    """
    Something that has to agree.

    :ivar what: what the matter is if it does not.
    :ivar where: a source of rows, which are those that don't agree.
    :ivar remedy: has them agree.
    """

    what: str
    where: str
    remedy: str


_SUMS = {
    "blobs": "(SELECT count(*) FROM blobs AS b WHERE b.place = places.place)",
    "size": "(SELECT ifnull(sum(b.size), 0) FROM blobs AS b WHERE b.place = places.place)",
    "deleted": "((SELECT count(*) FROM tombstones AS t WHERE t.place = places.place)"
    " + (SELECT count(*) FROM blobs AS b WHERE b.place = places.place AND reused))",
    # The latest change may have been forgotten since.
    "number": "max(number,"
    " (SELECT ifnull(max(b.number), 0) FROM blobs AS b WHERE b.place = places.place),"
    " (SELECT ifnull(max(t.number), 0) FROM tombstones AS t WHERE t.place = places.place))",
}


def _without_blob(table: str) -> _Rule:
    where = f"{table} WHERE blob NOT IN (SELECT blob FROM blobs)"
    return _Rule(f"rows of {table} belong to no blob", where, f"DELETE FROM {where}")


_RULES = (
    _without_blob("contents"),
    _without_blob("digests"),
    _Rule(
        "blobs that are there have tombstones",
        "tombstones WHERE (place, id) IN (SELECT place, id FROM blobs)",
        "DELETE FROM tombstones WHERE (place, id) IN (SELECT place, id FROM blobs)",
    ),
    _Rule(
        "sums of namespaces are wrong",
        f"places WHERE ({', '.join(_SUMS)}) <> ({', '.join(_SUMS.values())})",
        f"UPDATE places SET {', '.join(f'{name} = {sum_}' for name, sum_ in _SUMS.items())}",
    ),
)


def disagreements(connection: apsw.Connection) -> Iterator[str]:
    """
    Find what a catalogue says twice, and not the same. A server may run.

    :return: what that is.
    :raise apsw.CorruptError: it can't be read.
    """
    for rule in _RULES:
        number = ask(connection, f"SELECT count(*) FROM {rule.where}")[0][0]
        if number:
            yield f"{rule.what} ({number})"


def agree(connection: apsw.Connection) -> None:
    """Have a catalogue, which can be read, agree with itself. It is in a transaction."""
    for rule in _RULES:
        connection.execute(rule.remedy)
