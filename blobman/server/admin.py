"""
What an administrator does to a data folder, from another process than the server.

All of this blocks.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass

from ..errors import StoreError
from . import disk, layout, walking
from .folder import BlobFolder
from .quotas import QuotaFile


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
    Tell what each user keeps, as the index has it. A server may be running.

    :param data: the data folder.
    :return: users that have blobs, by name.
    :raise StoreError: there is no index yet, or it or the quota file can't be read.
    """
    quotas = _quota_file(data)
    path = os.path.join(os.path.abspath(data), layout.OWN_FOLDER, "index.sqlite")
    statement = "SELECT user, count(*), sum(size) FROM blobs GROUP BY user ORDER BY user"
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            rows = connection.execute(statement).fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StoreError("no server has made an index of that folder yet") from error
    return [Usage(user, blobs, size, quotas.get(user)) for user, blobs, size in rows]


def reindex(data: str) -> int:
    """
    Make the index of a folder anew, from its files.

    :param data: the data folder.
    :return: how many blobs it holds.
    :raise StoreError: a server has the folder open.
    """
    folder = BlobFolder(data)
    folder.open()
    try:
        folder.index.clear()
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
    _quota_file(data).set(user, size)


def unset_quota(data: str, user: str) -> None:
    """
    Give a user the default quota again.

    :raise StoreError: the quota file can't be read.
    """
    _quota_file(data).unset(user)


def _quota_file(data: str) -> QuotaFile:
    own = os.path.join(os.path.abspath(data), layout.OWN_FOLDER)
    disk.make_folders(own)
    return QuotaFile(os.path.join(own, "quotas.json"))
