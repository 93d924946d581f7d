"""Makes a backup of a data folder, whose server may be running: :func:`back_up`."""

from __future__ import annotations

import errno
import os
import shutil
import time
from contextlib import closing
from typing import NamedTuple

import apsw

from .... import disk
from ....errors import StoreError
from ..catalogue.connection import connect_copy, store_errors
from ..catalogue.visiting import visiting
from ..interface import DamagedError, UnavailableError
from .history import find_missing_changes
from .manifest import Manifest, digest_file, sums_of, write_manifest
from .payloads import Carrier, Payload, is_current, read_payloads, strays, sync_folders
from .places import CATALOGUE, MANIFEST, OWN_FOLDER, lies_within

INCOMPLETE = ".incomplete"
"""What the name of a folder ends with until the backup in it is whole."""

_PAGES = 256


class Backup(NamedTuple):
    """
    What was made.

    :ivar linked: how many payloads are hard links to those of the data folder.
    :ivar copied: how many are copies.
    """

    manifest: Manifest
    linked: int
    copied: int


def back_up(data: str, folder: str) -> Backup:
    """
    Make a backup: all that was acknowledged before this began is in it.

    It is laid out as a data folder. Until it is whole, the folder's name ends with
    :data:`INCOMPLETE`; if it fails, that folder is removed.

    :param data: the data folder. A server may run.
    :param folder: the folder to make.
    :raise FileExistsError: the folder is there, or one that an interrupted backup has left.
    :raise StoreError: no server has used the data folder yet; it is damaged; the backup would be
        inside of it; or a disk is full, or fails.
    """
    data, folder = os.path.abspath(data), os.path.abspath(folder)
    draft = folder + INCOMPLETE
    if lies_within(folder, data):
        raise StoreError("a backup can't be inside of the data folder")
    for path, why in (
        (folder, "it exists, and a backup is made in a new folder"),
        (draft, "an interrupted backup has left it: remove it"),
    ):
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, why, path)
    with visiting(os.path.join(data, OWN_FOLDER)) as connection:
        try:
            with store_errors():
                return _make(data, draft, folder, connection)
        except UnavailableError as error:
            raise StoreError(f"no backup was made in {folder}: {error}") from error


def _make(data: str, draft: str, folder: str, connection: apsw.Connection) -> Backup:
    for finding in find_missing_changes(data, connection, is_running=True):
        if not finding.may_pass:
            raise DamagedError(finding.text)
    disk.make_folders(os.path.join(draft, OWN_FOLDER))
    try:
        made = _Draft(data, draft, connection).fill()
        os.rename(draft, folder)
        disk.sync(os.path.dirname(folder))
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return made


class _Draft:
    """A backup that is being made."""

    def __init__(self, data: str, draft: str, connection: apsw.Connection) -> None:
        self._data = data
        self._draft = draft
        self._connection = connection
        self._carrier = Carrier(data, draft)
        self._catalogue = os.path.join(draft, CATALOGUE)

    def fill(self) -> Backup:
        # What is deleted is garbage for a while. A snapshot that is too old for all its payloads
        # to be still there is given up for a new one, which lacks fewer each time.
        while not self._try_to_finish():
            pass
        manifest = self._describe()
        sync_folders(self._draft)
        write_manifest(os.path.join(self._draft, MANIFEST), manifest)
        disk.sync(os.path.join(self._draft, OWN_FOLDER))
        return Backup(manifest, self._carrier.linked, self._carrier.copied)

    def _try_to_finish(self) -> bool:
        # This may take long. A snapshot would keep the server from emptying its log meanwhile.
        for payload in read_payloads(self._connection):
            self._carrier.bring(payload)
        self._connection.execute("BEGIN")
        try:
            for payload in read_payloads(self._connection):
                if not self._carrier.bring(payload):
                    missing = payload
                    break
            else:
                copy_catalogue(self._connection, self._catalogue)
                return True
        finally:
            self._connection.execute("ROLLBACK")
        self._check_deleted(missing)
        return False

    def _check_deleted(self, payload: Payload) -> None:
        if is_current(self._connection, payload):
            raise DamagedError(
                f"the payload of {payload.name} of {payload.name.user}, {payload.path}, is missing "
                "or has another size: check and repair the data folder before its backup"
            )

    def _describe(self) -> Manifest:
        """Look at the copy, and remove what came for nothing."""
        with closing(connect_copy(self._catalogue, is_fixed=True)) as copy:
            for path in strays(self._draft, copy, ""):
                if path != CATALOGUE:
                    disk.remove(os.path.join(self._draft, path))
            made, digest = int(time.time()), digest_file(self._catalogue)
            return Manifest(made, *sums_of(copy), digest)


def copy_catalogue(source: apsw.Connection, path: str) -> None:
    """
    Copy a catalogue as a connection sees it. The copy is one file.

    :raise apsw.Error: something can't be read or written.
    """
    os.close(disk.create(path))
    with closing(connect_copy(path)) as copy:
        with copy.backup("main", source, "main") as pages:
            while not pages.done:
                pages.step(_PAGES)
        copy.execute("PRAGMA journal_mode = DELETE").fetchall()
