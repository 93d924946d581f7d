"""What a catalogue has, and what was acknowledged."""

from __future__ import annotations

import os
from contextlib import closing

import apsw

from ..catalogue.marker import Marker, read_marker
from ..catalogue.questions import Questions
from ..interface import DamagedError
from .places import LAST_NUMBER


def acknowledge(data: str, number: int) -> None:
    """Take a number for the last one that anybody was told of, durably."""
    with closing(Marker(os.path.join(data, LAST_NUMBER))) as marker:
        marker.open()
        marker.write(number)
        marker.sync()


def check_history(data: str, connection: apsw.Connection) -> None:
    """
    See that a catalogue has all that was acknowledged. A server may run.

    :raise DamagedError: it has not.
    """
    # In this order: what is written meanwhile is more.
    acknowledged = read_marker(os.path.join(data, LAST_NUMBER)) or 0
    if Questions(connection).last_number() < acknowledged:
        raise DamagedError("changes are missing in the catalogue: check the data folder")
