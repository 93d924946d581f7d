"""Puts a backup in place: :func:`restore`."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import closing

from .... import disk
from ....errors import StoreError
from ....sqlite import transaction
from ..catalogue.connection import connect_copy, store_errors
from ..catalogue.history import begin_only_generation, forget_tombstones
from ..catalogue.questions import Questions
from ..catalogue.visiting import alone
from ..interface import DamagedError, UnavailableError
from .backup import INCOMPLETE
from .check import check_backup
from .history import acknowledge
from .manifest import Manifest, read_manifest
from .payloads import Carrier, copy_file, read_payloads, sync_folders
from .places import CATALOGUE, MANIFEST, OWN_FOLDER, lies_within


def restore(folder: str, data: str) -> Manifest:
    """
    Make a data folder of a backup.

    All of the backup is checked before anything is written: the catalogue, and of each payload its
    size and tag. The catalogue comes last: until then no server can start on the data folder. If
    this fails, the data folder is empty again.

    A new generation begins, and tombstones are left out; see :mod:`..catalogue.history`.

    :param folder: the backup. It stays as it is.
    :param data: the data folder to make; it may be there if it is empty.
    :return: what the backup said of itself.
    :raise FileExistsError: the data folder is not empty.
    :raise DamagedError: the backup is damaged.
    :raise StoreError: it is none, or an incomplete one; or a disk is full, or fails.
    """
    folder, data = os.path.abspath(folder), os.path.abspath(data)
    manifest = open_backup(folder)
    if lies_within(data, folder):
        raise StoreError("a data folder can't be inside of a backup")
    if os.path.lexists(data) and os.listdir(data):
        raise FileExistsError(errno.ENOTEMPTY, "a backup is restored into an empty folder", data)
    for finding in check_backup(folder, deep=False):
        raise DamagedError(f"the backup is damaged: {finding.text}")
    try:
        with store_errors():
            _make(folder, data, manifest)
    except UnavailableError as error:
        raise StoreError(f"nothing was restored to {data}: {error}") from error
    return manifest


def open_backup(folder: str) -> Manifest:
    """
    Read what a backup says of itself.

    :raise DamagedError: that is damaged.
    :raise StoreError: it is no backup, or an incomplete one.
    """
    try:
        return read_manifest(os.path.join(folder, MANIFEST))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(f"{folder} is not a complete backup") from error


def _make(folder: str, data: str, manifest: Manifest) -> None:
    own = os.path.join(data, OWN_FOLDER)
    try:
        for changed in disk.make_folders(own):
            disk.sync(changed)
        with alone(own):
            _fill(folder, data, manifest)
    except BaseException:
        for entry in os.scandir(data):
            shutil.rmtree(entry.path, ignore_errors=True)
        raise


def _fill(folder: str, data: str, manifest: Manifest) -> None:
    # From here on a server that finds no catalogue says that changes are missing.
    acknowledge(data, manifest.number)
    carrier = Carrier(folder, data)
    with closing(connect_copy(os.path.join(folder, CATALOGUE), is_fixed=True)) as catalogue:
        for payload in read_payloads(catalogue):
            if not carrier.bring(payload):
                raise DamagedError(f"the backup is damaged: {payload.path} is missing")
    sync_folders(data)
    _put_catalogue(os.path.join(folder, CATALOGUE), os.path.join(data, CATALOGUE))


def _put_catalogue(source: str, target: str) -> None:
    draft = target + INCOMPLETE
    with open(source, "rb") as reading:
        copy_file(reading.fileno(), draft)
    with closing(connect_copy(draft)) as copy, transaction(copy):
        forget_tombstones(copy)
        begin_only_generation(copy, Questions(copy).last_number() + 1)
    os.rename(draft, target)
    disk.sync(os.path.dirname(target))
