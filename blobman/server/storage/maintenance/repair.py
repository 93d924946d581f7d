"""Moves damage aside, so that what is left can be served: :func:`repair`."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from typing import NamedTuple

import apsw

from .... import disk
from ....errors import StoreError
from ....sqlite import ask
from ..catalogue.connection import connect_copy, connect_damaged, store_errors
from ..catalogue.folder import CatalogueFolder
from ..catalogue.history import begin_only_generation, forget_tombstones
from ..catalogue.marker import read_marker
from ..catalogue.pairing import PairingError, check_not_older, first_transaction
from ..catalogue.questions import Questions
from ..catalogue.salvage import rebuild
from ..catalogue.visiting import alone, visiting
from ..interface import DamagedError
from ..payloads.folder import path_of
from .agreement import agree
from .check import check_blobs_and_files, check_folder, check_structure
from .findings import Finding, Kind
from .history import acknowledge, find_missing_changes
from .places import CATALOGUE, LAST_NUMBER, LOG, OWN_FOLDER

FOUND = os.path.join(OWN_FOLDER, "found")
"""Where damage goes, from the data folder: to a folder of its own for each repair."""


class Repaired(NamedTuple):
    """
    What was repaired.

    :ivar findings: what was damaged.
    :ivar folder: where that is now; empty if nothing was damaged.
    """

    findings: list[Finding]
    folder: str


def repair(data: str, deep: bool) -> Repaired:
    """
    Check a data folder, and have what is whole served again.

    What is damaged is moved into a new folder in :data:`FOUND`, with ``report.json``, which has an
    object in a line for each finding. Damaged blobs are no longer listed. They leave no tombstones,
    and a new generation begins, so that clients that have them send them again. A catalogue that
    is damaged is made anew from what can be read of it. If changes are missing, tombstones are
    forgotten; see :func:`blobman.server.storage.catalogue.history.forget_tombstones`.

    :param deep: read the payloads; else only their sizes and tags are compared.
    :raise StoreError: a server runs; it is a backup, or no data folder; the catalogue is older than
        its log, or nothing of it can be read; or the disk is full, or fails.
    """
    data = os.path.abspath(data)
    own = os.path.join(data, OWN_FOLDER)
    if not os.path.isdir(own):
        raise StoreError(f"no server has used {data} yet")
    CatalogueFolder(own).refuse_backup()
    with alone(own), store_errors():
        findings = list(check_folder(data, deep, is_running=False))
        if not findings:
            return Repaired([], "")
        if not os.path.lexists(os.path.join(data, CATALOGUE)):
            raise DamagedError("the catalogue is missing: only a backup can help")
        _refuse_older(os.path.join(data, CATALOGUE))
        return _Repair(data, deep).run(findings)


def _refuse_older(path: str) -> None:
    try:
        check_not_older(path)
    except PairingError:
        # Whatever were made of it and the later log would be a mixture.
        raise
    except DamagedError:
        # That is what is going to be repaired.
        return


class _Repair:
    """A repair of a data folder."""

    def __init__(self, data: str, deep: bool) -> None:
        self._data = data
        self._deep = deep
        name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(4)}"
        self._found = os.path.join(data, FOUND, name)

    def run(self, findings: list[Finding]) -> Repaired:
        for changed in disk.make_folders(self._found):
            disk.sync(changed)
        is_catalogue_damaged = any(it.kind in (Kind.CATALOGUE, Kind.LOG) for it in findings)
        if is_catalogue_damaged:
            self._repair_catalogue()
        with visiting(os.path.join(self._data, OWN_FOLDER)) as connection:
            # What was found in a catalogue that is damaged may not be so in what was made of it.
            damaged = findings
            if is_catalogue_damaged:
                damaged = list(check_blobs_and_files(self._data, connection, self._deep))
            findings = list(dict.fromkeys([*findings, *damaged]))
            self._write_report(findings)
            self._settle(connection, damaged)
        return Repaired(findings, self._found)

    def _settle(self, connection: apsw.Connection, damaged: Iterable[Finding]) -> None:
        is_older = any(find_missing_changes(self._data, connection))
        with first_transaction(connection):
            self._remove_damaged(connection, damaged)
            agree(connection)
            if is_older:
                forget_tombstones(connection)
            last = Questions(connection).last_number()
            begin_only_generation(connection, last + 1)
        acknowledge(self._data, last)

    # -- the catalogue -----------------------------------------------------------------

    def _repair_catalogue(self) -> None:
        acknowledged = read_marker(os.path.join(self._data, LAST_NUMBER)) or 0
        if self._is_whole_alone(acknowledged):
            # All that is in the log had been brought to the catalogue before.
            self._move_log_aside()
        else:
            self._make_catalogue_anew(acknowledged)

    def _is_whole_alone(self, acknowledged: int) -> bool:
        """Tell whether the catalogue is whole, and has all that was acknowledged, without a log."""
        try:
            path = os.path.join(self._data, CATALOGUE)
            with closing(connect_copy(path, is_fixed=True)) as connection:
                is_whole = not any(check_structure(connection))
                return is_whole and 0 < acknowledged <= Questions(connection).last_number()
        except (apsw.Error, DamagedError):
            return False

    def _move_log_aside(self) -> None:
        self._move_aside(LOG)
        disk.remove(os.path.join(self._data, CATALOGUE + "-shm"))
        disk.sync(os.path.join(self._data, OWN_FOLDER))

    def _make_catalogue_anew(self, acknowledged: int) -> None:
        """Put another catalogue, with what can be read of the damaged one, in its place."""
        path = os.path.join(self._data, CATALOGUE)
        draft = path + ".rebuilt"
        disk.remove(draft)
        try:
            with closing(connect_damaged(path)) as connection:
                rebuild(connection, draft, acknowledged)
        except BaseException:
            disk.remove(draft)
            raise
        os.link(path, self._place_of(CATALOGUE))
        # A log belongs to one catalogue: the new one must never be there beside the old log.
        self._move_log_aside()
        os.replace(draft, path)
        disk.sync(os.path.dirname(path))

    # -- blobs and files ---------------------------------------------------------------

    def _remove_damaged(self, connection: apsw.Connection, findings: Iterable[Finding]) -> None:
        for finding in findings:
            if finding.kind is Kind.STRAY:
                self._move_aside(finding.path)
            if finding.kind in (Kind.BLOB, Kind.PAYLOAD):
                if finding.key is not None:
                    self._move_aside(path_of(finding.key))
                else:
                    self._save_content(connection, finding.row)
                for table in ("blobs", "contents", "digests"):
                    connection.execute(f"DELETE FROM {table} WHERE blob = ?", (finding.row,))

    def _save_content(self, connection: apsw.Connection, row: int) -> None:
        statement = "SELECT content FROM contents WHERE blob = ?"
        for (content,) in ask(connection, statement, (row,)):
            with disk.creating(self._place_of(os.path.join("contents", str(row)))) as descriptor:
                disk.write_all(descriptor, content)

    def _move_aside(self, path: str) -> None:
        """Move a file, if it is there."""
        with suppress(FileNotFoundError):
            shutil.move(os.path.join(self._data, path), self._place_of(path))

    def _place_of(self, path: str) -> str:
        """Give where a file goes, and make its folder."""
        place = os.path.join(self._found, path.removeprefix(OWN_FOLDER + os.sep))
        disk.make_folders(os.path.dirname(place))
        return place

    def _write_report(self, findings: Iterable[Finding]) -> None:
        with disk.creating(os.path.join(self._found, "report.json")) as descriptor:
            for finding in findings:
                disk.write_all(descriptor, json.dumps(finding.fields()).encode("ascii") + b"\n")
