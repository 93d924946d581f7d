"""
What an administrator does to a data folder, from another process than the server.

All of this blocks.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import quote

from ...errors import StoreError
from .. import disk, layout, walking
from ..accounts.quotas import QuotaFile, Quotas
from ..folder import BlobFolder
from ..storage import BlobName


@dataclass(frozen=True)
class Usage:
    """
    What a user keeps.

    :ivar size: bytes of sealed blobs.
    :ivar quota: bytes, or None if there is no limit.
    """

    user: str
    blobs: int
    size: int
    quota: int | None


def read_usage(data: str) -> list[Usage]:
    """
    Tell what each user keeps: of what the index has, that which the files say. A server may run.

    :param data: the data folder.
    :return: users that have blobs, by name.
    :raise StoreError: there is no index yet, or it or the quota file can't be read.
    """
    quotas = read_quotas(data)
    path = os.path.join(_own_folder(data), "index.sqlite")
    if not os.path.exists(path):
        raise StoreError("no server has made an index of that folder yet")
    # Nothing is to be made here, not even SQLite's own files beside an index that is not in use.
    mode = "ro" if os.path.exists(path + "-wal") else "ro&immutable=1"
    blobs: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    try:
        with closing(sqlite3.connect(f"file:{quote(path)}?mode={mode}", uri=True)) as connection:
            for row in connection.execute("SELECT user, namespace, id FROM blobs"):
                size = _size_of(data, BlobName(*row))
                if size is not None:
                    blobs[row[0]] += 1
                    sizes[row[0]] += size
    except sqlite3.Error as error:
        raise StoreError(f"the index can't be read: {error}") from error
    return [Usage(it, blobs[it], sizes[it], quotas.of(it)) for it in sorted(blobs)]


def _size_of(data: str, name: BlobName) -> int | None:
    status = disk.status_of(os.path.join(layout.folder_of(data, name), name.blob_id))
    return status.st_size if status else None


def read_quotas(data: str) -> Quotas:
    """
    Tell who may keep how much.

    :param data: the data folder.
    :raise StoreError: the quota file can't be read.
    """
    return _quota_file(data).read()


def reindex(data: str) -> int:
    """
    Make the index of a folder anew, from its files.

    :param data: the data folder.
    :return: how many blobs it holds.
    :raise StoreError: a server has the folder open.
    """
    folder = BlobFolder(data)
    folder.open(index_anew=True)
    try:
        walking.rebuild(folder)
        folder.is_in_order = True
        return sum(blobs for blobs, _ in folder.index.usage().values())
    finally:
        folder.close()


def set_quota(data: str, user: str | None, size: int | None) -> None:
    """
    Set a quota. A running server heeds it from the next upload on.

    :param data: the data folder.
    :param user: None for the default one, of users that have none of their own.
    :param size: bytes of sealed blobs, or None for no limit.
    :raise ValueError: that can't be a user's name, or a size.
    :raise StoreError: the quota file can't be read.
    """
    disk.make_folders(_own_folder(data))
    _quota_file(data).set(user, size)


def unset_quota(data: str, user: str) -> None:
    """
    Give a user the default quota again.

    :raise StoreError: the quota file can't be read.
    """
    disk.make_folders(_own_folder(data))
    _quota_file(data).unset(user)


def _quota_file(data: str) -> QuotaFile:
    return QuotaFile(os.path.join(_own_folder(data), "quotas.json"))


def _own_folder(data: str) -> str:
    return os.path.join(os.path.abspath(data), layout.OWN_FOLDER)
