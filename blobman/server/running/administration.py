"""
What an administrator does to a data folder, from another process than the server.

All of this blocks.
"""

from __future__ import annotations

import os

from ...model import check_name, check_size
from ..storage.backends import OWN_FOLDER
from ..storage.catalogue.interface import Quotas, Usage
from ..storage.catalogue.visiting import asking, changing

__all__ = ["Quotas", "Usage", "read_quotas", "read_usage", "set_quota", "unset_quota"]


def read_usage(data: str) -> list[Usage]:
    """
    Tell what each user keeps. A server may run.

    :param data: the data folder.
    :return: users that have blobs, by name.
    :raise StoreError: no server has used the folder yet, or the catalogue can't be read.
    """
    with asking(_catalogue_of(data)) as questions:
        return questions.usage()


def read_quotas(data: str) -> Quotas:
    """
    Tell who may keep how much.

    :param data: the data folder.
    :raise StoreError: no server has used the folder yet, or the catalogue can't be read.
    """
    with asking(_catalogue_of(data)) as questions:
        return questions.quotas()


def set_quota(data: str, user: str | None, size: int | None) -> None:
    """
    Set a quota. A running server heeds it from the next upload on.

    :param data: the data folder.
    :param user: None for the default one, of users that have none of their own.
    :param size: bytes of sealed blobs, or None for no limit.
    :raise ValueError: that can't be a user's name, or a size.
    :raise StoreError: the catalogue can't be written.
    """
    if size is not None:
        check_size(size)
    if user is not None:
        check_name("user", user)
    with changing(_catalogue_of(data)) as changes:
        changes.set_quota(user, size)


def unset_quota(data: str, user: str) -> None:
    """
    Give a user the default quota again.

    :param data: the data folder.
    :raise StoreError: the catalogue can't be written.
    """
    with changing(_catalogue_of(data)) as changes:
        changes.unset_quota(user)


def _catalogue_of(data: str) -> str:
    return os.path.join(os.path.abspath(data), OWN_FOLDER)
