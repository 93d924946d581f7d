"""
Looks for damage: :func:`check`, and :func:`check_backup`.

Neither changes anything. What they find comes one by one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import apsw

from ....errors import StoreError
from ....sqlite import Log, ask, read_log
from ..catalogue.connection import PAGE_SIZE, connect_copy
from ..catalogue.interface import Entry
from ..catalogue.log import frames_moved
from ..catalogue.marker import read_marker
from ..catalogue.pairing import PairingError, check_pairing
from ..catalogue.rows import check_entry, read_flags
from ..catalogue.salvage import highest_number, read_rows
from ..catalogue.visiting import is_in_use, visiting
from ..interface import BlobName, DamagedError
from .agreement import disagreements
from .findings import Finding, Kind
from .history import find_missing_changes
from .manifest import digest_file, read_manifest, sums_of
from .payloads import Payload, are_apart, fault_of, is_current, strays
from .places import CATALOGUE, LAST_NUMBER, LOG, LOG_MOVED, MANIFEST, OWN_FOLDER

_MOST_PAGES = 10
"""How many errors of the catalogue's structure are looked for."""

_ROWS = """
    SELECT b.blob, p.user, p.namespace, b.id, b.size, b.tag, b.date, b.key, b.digest, b.flags
    FROM blobs AS b LEFT JOIN places AS p USING (place) WHERE b.blob BETWEEN ? AND ? ORDER BY b.blob
"""


def check(data: str, deep: bool) -> Iterator[Finding]:
    """
    Check a data folder, or a backup. A server may run.

    :param deep: read the payloads; else only their sizes and tags are compared.
    :return: what is damaged.
    :raise StoreError: it is no data folder, or can't be read now.
    """
    if os.path.lexists(os.path.join(data, MANIFEST)):
        yield from check_backup(data, deep)
        return
    yield from check_folder(data, deep, is_in_use(os.path.join(data, OWN_FOLDER)))


def check_folder(data: str, deep: bool, is_running: bool) -> Iterator[Finding]:
    """
    Check a data folder; see :func:`check`.

    :param is_running: whether a server runs.
    """
    if not os.path.lexists(os.path.join(data, CATALOGUE)):
        if not os.path.lexists(os.path.join(data, LAST_NUMBER)):
            raise StoreError(f"no server has used {data} yet")
        yield Finding(Kind.CATALOGUE, CATALOGUE, "it is missing")
        return
    yield from _check_files(data, is_running)
    if not is_running:
        yield from _check_pairing(os.path.join(data, CATALOGUE))
    try:
        with visiting(os.path.join(data, OWN_FOLDER)) as connection:
            with suppress(apsw.CorruptError):
                yield from find_missing_changes(data, connection, is_running)
            yield from check_catalogue(data, connection, deep)
    except DamagedError as error:
        yield Finding(Kind.CATALOGUE, CATALOGUE, str(error))


def check_backup(folder: str, deep: bool) -> Iterator[Finding]:
    """
    Check a backup; see :func:`check`.

    :raise StoreError: it is no backup, or can't be read now.
    """
    path = os.path.join(folder, CATALOGUE)
    manifest = None
    try:
        manifest = read_manifest(os.path.join(folder, MANIFEST))
        if digest_file(path) != manifest.catalogue:
            yield Finding(Kind.CATALOGUE, CATALOGUE, "it is not as it was when it was copied")
    except DamagedError:
        yield Finding(Kind.MANIFEST, MANIFEST, "it is damaged")
    except FileNotFoundError:
        yield Finding(Kind.CATALOGUE, CATALOGUE, "it is missing")
        return
    try:
        with closing(connect_copy(path, is_fixed=True)) as connection:
            yield from check_catalogue(folder, connection, deep)
            if manifest and manifest.sums != sums_of(connection):
                yield Finding(Kind.MANIFEST, MANIFEST, "it does not agree with the catalogue")
    except (apsw.CorruptError, apsw.NotADBError, DamagedError) as error:
        yield Finding(Kind.CATALOGUE, CATALOGUE, f"it can't be read: {error}")


def _check_files(data: str, is_running: bool) -> Iterator[Finding]:
    """Check what SQLite does not: what it drops from the log, and the last number."""
    size = os.path.getsize(os.path.join(data, CATALOGUE))
    if size % PAGE_SIZE:
        what = f"it ends within a page: it has {size} bytes"
        yield Finding(Kind.CATALOGUE, CATALOGUE, what, may_pass=is_running)
    if not is_running:
        # A server writes it, and has in memory which frames count.
        yield from _check_log(data)


def _check_log(data: str) -> Iterator[Finding]:
    log = read_log(os.path.join(data, LOG))
    if not log.has_header:
        yield Finding(Kind.LOG, LOG, "its header is damaged")
    elif not log.is_whole or log.whole < _frames_moved(data, log):
        what = f"it is damaged, or a power cut came, at the frame after {log.whole} of {log.frames}"
        yield Finding(Kind.LOG, LOG, what)


def _check_pairing(path: str) -> Iterator[Finding]:
    try:
        check_pairing(path)
    except PairingError as error:
        yield Finding(Kind.CATALOGUE, CATALOGUE, str(error))
    except DamagedError:
        # What can't be read is told of in what follows.
        return


def _frames_moved(data: str, log: Log) -> int:
    mark = read_marker(os.path.join(data, LOG_MOVED)) or 0
    return frames_moved(mark, log.salts and log.salts.second)


def check_catalogue(data: str, connection: apsw.Connection, deep: bool) -> Iterator[Finding]:
    """
    Check a catalogue that can be opened, and its payloads.

    :raise StoreError: it can't be read now.
    """
    yield from check_structure(connection)
    # What can't be read has been told of.
    with suppress(apsw.CorruptError):
        yield from check_blobs_and_files(data, connection, deep)
        for what in disagreements(connection):
            yield Finding(Kind.SUMS, CATALOGUE, what)


def check_blobs_and_files(data: str, connection: apsw.Connection, deep: bool) -> Iterator[Finding]:
    """
    Check what the catalogue says of blobs, their content, and the files among the payloads.

    :raise apsw.CorruptError: a part of the catalogue can't be read.
    """
    yield from _check_blobs(data, connection, deep)
    for path in strays(data, connection):
        yield Finding(Kind.STRAY, path, "the catalogue knows nothing of it")


def check_structure(connection: apsw.Connection) -> Iterator[Finding]:
    """Have SQLite check that pages are as they were written, and agree with one another."""
    try:
        lines = ask(connection, f"PRAGMA integrity_check({_MOST_PAGES})")
    except apsw.CorruptError as error:
        lines = [(str(error),)]
    if lines != [("ok",)]:
        text = "\n".join(str(line) for (line,) in lines).removeprefix("*** in database main ***\n")
        yield Finding(Kind.CATALOGUE, CATALOGUE, text.split("\n")[0])


def _check_blobs(data: str, connection: apsw.Connection, deep: bool) -> Iterator[Finding]:
    """Check what the catalogue says of each blob, and its content, wherever that is."""
    acknowledged = read_marker(os.path.join(data, LAST_NUMBER)) or 0
    last = highest_number(connection, acknowledged)
    first_lost = 0
    for row in read_rows(connection, _ROWS, 0, last):
        if isinstance(row, int):
            first_lost = first_lost or row
            continue
        yield from _check_row(data, connection, row, deep)
    if first_lost:
        what = f"what it says of blobs can't be read, from row {first_lost} on"
        yield Finding(Kind.CATALOGUE, CATALOGUE, what)


def _check_row(
    data: str, connection: apsw.Connection, row: tuple[Any, ...], deep: bool
) -> Iterator[Finding]:
    blob, user, namespace, blob_id, size, tag, date, key, digest, flags = row
    if user is None:
        yield Finding(Kind.BLOB, CATALOGUE, f"the blob in row {blob} is nobody's", blob, None, key)
        return
    name = BlobName(user, namespace, blob_id)
    try:
        content = _content(connection, blob, key is None)
        if key is None:
            entry = Entry(size, tag, date, content, None, b"")
        else:
            entry = Entry(size, tag, date, None, key, content)
        check_entry(name, entry, digest)
        read_flags(flags)
    except (apsw.CorruptError, DamagedError):
        # It may have been deleted just now.
        if ask(connection, "SELECT 1 FROM blobs WHERE blob = ?", (blob,)):
            what = "what it says of the blob, or has of it, is damaged"
            yield Finding(Kind.BLOB, CATALOGUE, what, blob, name, key)
    else:
        if key is not None and not are_apart(connection):
            payload = Payload(blob, name, key, size, tag, content)
            fault = fault_of(data, payload, deep)
            if fault is not None and is_current(connection, payload):
                yield Finding(Kind.PAYLOAD, payload.path, fault, blob, name, key)


def _content(connection: apsw.Connection, blob: int, is_small: bool) -> bytes:
    """Give what is digested with a blob's row: its content, or the digests of its payload."""
    source = "content FROM contents" if is_small else "digests FROM digests"
    rows = ask(connection, f"SELECT {source} WHERE blob = ?", (blob,))
    return rows[0][0] if rows else b""
