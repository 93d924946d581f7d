"""What a catalogue has, and what was acknowledged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

import apsw

from ..catalogue.marker import Marker, read_marker
from ..catalogue.questions import Questions
from .findings import Finding, Kind
from .places import CATALOGUE, LAST_NUMBER, LOG


def acknowledge(data: str, number: int) -> None:
    """Take a number for the last one that anybody was told of, durably."""
    with closing(Marker(os.path.join(data, LAST_NUMBER))) as marker:
        marker.open()
        marker.write(number)
        marker.sync()


def find_missing_changes(
    data: str, connection: apsw.Connection, is_running: bool = False
) -> Iterator[Finding]:
    """
    See whether a catalogue has all that was acknowledged.

    :param is_running: whether a server runs.
    """
    # In this order: what is written meanwhile is more.
    acknowledged = read_marker(os.path.join(data, LAST_NUMBER))
    last = Questions(connection).last_number()
    if acknowledged is None or (last and not acknowledged):
        what = "it is missing or damaged, so that nobody knows whether changes are missing"
        yield Finding(Kind.HISTORY, LAST_NUMBER, what, may_pass=is_running)
    elif last < acknowledged:
        what = (
            f"changes are missing: it ends with {last}, and {acknowledged} was acknowledged. They "
            f"were in {LOG}, or an older catalogue was put back"
        )
        yield Finding(Kind.HISTORY, CATALOGUE, what)
