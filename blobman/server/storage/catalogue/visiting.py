"""Connections of other processes than the server, which may be running."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import apsw

from ....errors import StoreError
from .connection import Adopt, check_version, connect, store_errors
from .folder import CatalogueFolder, take_lock
from .pairing import first_transaction
from .questions import Questions
from .schema import VERSION
from .transaction import Transaction
from .writer import Writer

_CACHE = 1024 * 1024


def _has_none(folder: str) -> StoreError:
    return StoreError(f"no server has used {os.path.dirname(folder)} yet: it has no catalogue")


@contextmanager
def visiting(folder: str) -> Iterator[apsw.Connection]:
    """
    Open a catalogue beside the server that may have it.

    :param folder: the catalogue's folder.
    :raise StoreError: there is none, it is a backup's, or it can't be read.
    """
    if not is_made(folder):
        raise _has_none(folder)
    with _visiting(CatalogueFolder(folder)) as connection:
        yield connection


@contextmanager
def _visiting(place: CatalogueFolder) -> Iterator[apsw.Connection]:
    place.refuse_backup()
    connection = connect(place.path, _CACHE)
    try:
        with store_errors():
            yield connection
    finally:
        connection.close()


def is_made(folder: str) -> bool:
    """
    Tell whether a catalogue has been made. One that is just being made has not.

    :param folder: the catalogue's folder.
    :raise StoreError: it can't be read.
    """
    return version(folder) > 0


def version(folder: str) -> int:
    """
    Tell of which version a catalogue is.

    :param folder: the catalogue's folder.
    :return: 0 if it has not been made.
    :raise StoreError: it can't be read, or is of a later version.
    """
    place = CatalogueFolder(folder)
    with store_errors():
        try:
            os.stat(place.path)
        except FileNotFoundError:
            return 0
    with _visiting(place) as connection:
        return check_version(connection)


@contextmanager
def asking(folder: str) -> Iterator[Questions]:
    """
    Ask a catalogue something.

    :param folder: the catalogue's folder.
    :raise StoreError: there is none, or it can't be read.
    """
    with visiting(folder) as connection:
        yield Questions(connection)


def is_in_use(folder: str) -> bool:
    """Tell whether a server has the catalogue of a folder, which need not be there."""
    if not os.path.isdir(folder):
        return False
    try:
        with alone(folder):
            return False
    except StoreError:
        return True


@contextmanager
def alone(folder: str) -> Iterator[None]:
    """
    Keep servers out in the block.

    :param folder: the catalogue's folder, which is there.
    :raise StoreError: a server has it.
    """
    lock = take_lock(CatalogueFolder(folder))
    try:
        yield
    finally:
        os.close(lock)


@contextmanager
def changing(folder: str, adopt: Adopt | None = None) -> Iterator[Transaction]:
    """
    Change what takes no number: quotas. The catalogue is made if there is none.

    :param folder: the catalogue's folder.
    :param adopt: called if it is made; see :class:`.sqlite.SQLiteCatalogue`.
    :raise StoreError: it can't be written.
    """
    with writing(folder, adopt) as connection:
        yield Transaction(connection, 0, time.time_ns())


@contextmanager
def writing(folder: str, adopt: Adopt | None = None) -> Iterator[apsw.Connection]:
    """
    Write in one transaction, beside the server that may have the catalogue. The catalogue is made
    if there is none, and brought to the present version.

    :param folder: the catalogue's folder.
    :param adopt: called if it is made; see :class:`.sqlite.SQLiteCatalogue`.
    :raise StoreError: it can't be written.
    """
    make(folder, adopt)
    with _visiting(CatalogueFolder(folder)) as connection, first_transaction(connection):
        yield connection


def make(folder: str, adopt: Adopt | None = None) -> bool:
    """
    Make a catalogue, if there is none; bring one of an earlier version to the present one. See that
    one which no server has open can be written: its log may be damaged.

    :param adopt: called if it is made; see :class:`.sqlite.SQLiteCatalogue`.
    :return: whether there was none.
    :raise StoreError: a server has the folder open, or it can't be written, or is damaged.
    """
    before = version(folder)
    if before and is_in_use(folder):
        if before == VERSION:
            return False
        raise StoreError("a server of an earlier version has the data folder open: restart it")
    writer = Writer(CatalogueFolder(folder), time.time_ns, adopt)
    writer.open()
    writer.close()
    return before == 0


def begin_history(folder: str) -> int:
    """
    Take a catalogue that was put back for the right one; see :meth:`.Writer.begin_history`. No
    server may be running.

    :param folder: the catalogue's folder.
    :return: the last number that was given.
    :raise StoreError: there is none, a server has it open, or it is damaged.
    """
    if not is_made(folder):
        raise _has_none(folder)
    return Writer(CatalogueFolder(folder), time.time_ns).begin_history()
