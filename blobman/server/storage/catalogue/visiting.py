"""Connections of other processes than the server, which may be running."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import apsw

from ....errors import StoreError
from .connection import connect, store_errors, transaction
from .questions import Questions
from .transaction import Transaction
from .writer import Place, Writer

_CACHE = 1024 * 1024


@contextmanager
def _visiting(place: Place) -> Iterator[apsw.Connection]:
    connection = connect(place.path, _CACHE)
    try:
        with store_errors():
            yield connection
    finally:
        connection.close()


@contextmanager
def asking(folder: str) -> Iterator[Questions]:
    """
    Ask a catalogue something.

    :param folder: the catalogue's folder.
    :raise StoreError: there is none, or it can't be read.
    """
    place = Place(folder)
    if not os.path.exists(place.path):
        raise StoreError("no server has used that folder yet")
    with _visiting(place) as connection:
        yield Questions(connection)


@contextmanager
def changing(folder: str) -> Iterator[Transaction]:
    """
    Change what takes no number: quotas. The catalogue is made if there is none.

    :param folder: the catalogue's folder.
    :raise StoreError: it can't be written.
    """
    place = Place(folder)
    if not os.path.exists(place.path):
        writer = Writer(place, time.time_ns)
        writer.open()
        writer.close()
    with _visiting(place) as connection, transaction(connection):
        yield Transaction(connection, 0, time.time_ns())
