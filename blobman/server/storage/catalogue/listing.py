"""How lists are read page by page, in the SQL that all engines have in common."""

from __future__ import annotations

from typing import NamedTuple

from ....protocol import ListQuery
from .interface import Page


class Order(NamedTuple):
    """
    The order of a list.

    :ivar columns: what is read. An index has all of it, but no dates in the order of ids.
    :ivar clause: what stands behind ``ORDER BY``.
    :ivar sign: compares the columns with where the page before ended.
    :ivar last_date: an expression for the last date of a page.
    """

    columns: str
    clause: str
    sign: str
    last_date: str

    def bounds(self, after: tuple[int, str]) -> tuple[int | str, ...]:
        """Give what the columns are compared with."""
        return after if "date" in self.columns else after[1:]


def order_of(query: ListQuery) -> Order:
    """Tell the order that a query asks for."""
    is_ascending = query.order_by != "-date"
    word, sign, extreme = ("ASC", ">", "max") if is_ascending else ("DESC", "<", "min")
    if query.order_by is None:
        return Order("id", f"id {word}", sign, "0")
    return Order("date, id", f"date {word}, id {word}", sign, f"{extreme}(date)")


def read_page(joined: str | None, date: int, is_full: bool) -> Page:
    """
    Make a page.

    :param joined: its ids, with blanks between them: a row for each would keep other threads from
        running.
    :param date: the last one.
    :param is_full: whether there may be another page.
    """
    ids = joined.split(" ") if joined else []
    return Page(ids, (date, ids[-1]) if is_full else None)
