"""
What an administrator does to a catalogue or a data folder, from another process than the server.

All of this blocks.
"""

from __future__ import annotations

import os

from ...model import check_name, check_size
from ..accounts.interface import ITokens, Quotas, Usage
from ..storage.backends import OWN_FOLDER
from ..storage.catalogue.visiting import is_made, make
from ..storage.maintenance.backup import back_up
from ..storage.maintenance.check import check
from ..storage.maintenance.repair import repair
from ..storage.maintenance.restore import restore
from ..storage.soledad.adoption import Adoption
from ..storage.soledad.adoption import survey as survey_folder
from ..storage.soledad.files import Odd
from ..storage.soledad.taking import Listener, Report
from .catalogues import place_of

__all__ = [
    "Listener",
    "Odd",
    "Quotas",
    "Report",
    "Usage",
    "adopt",
    "back_up",
    "check",
    "read_quotas",
    "read_usage",
    "repair",
    "restore",
    "restored",
    "set_quota",
    "survey",
    "tokens_of",
    "unset_quota",
]


def read_usage(catalogue: str) -> list[Usage]:
    """
    Tell what each user keeps. A server may run.

    :param catalogue: its URL, or the data folder.
    :return: users that have blobs, by name.
    :raise StoreError: no server has used it yet, or it can't be read.
    """
    with place_of(catalogue).asking() as questions:
        return questions.usage()


def read_quotas(catalogue: str) -> Quotas:
    """
    Tell who may keep how much.

    :param catalogue: its URL, or the data folder.
    :raise StoreError: no server has used it yet, or it can't be read.
    """
    with place_of(catalogue).asking() as questions:
        return questions.quotas()


def set_quota(catalogue: str, user: str | None, size: int | None) -> None:
    """
    Set a quota. A running server heeds it from the next upload on.

    :param catalogue: its URL, or the data folder.
    :param user: None for the default one, of users that have none of their own.
    :param size: bytes of sealed blobs, or None for no limit.
    :raise ValueError: that can't be a user's name, or a size.
    :raise StoreError: the catalogue can't be written.
    """
    if size is not None:
        check_size(size)
    if user is not None:
        check_name("user", user)
    with place_of(catalogue).changing() as changes:
        changes.set_quota(user, size)


def unset_quota(catalogue: str, user: str) -> None:
    """
    Give a user the default quota again.

    :param catalogue: its URL, or the data folder.
    :raise StoreError: the catalogue can't be written.
    """
    with place_of(catalogue).changing() as changes:
        changes.unset_quota(user)


def adopt(data: str, listener: Listener | None = None) -> Report | None:
    """
    Take over a folder that has blobs, but no catalogue, as the first start of a server does.

    :param data: the data folder.
    :param listener: is told what goes on; the log if None.
    :return: what has been taken over; None if there was a catalogue already.
    :raise StoreError: a server has the folder open, or something in it can't be read. Then nothing
        has been taken over.
    """
    adoption = Adoption(data, listener)
    return adoption.report if make(_catalogue_of(data), adoption) else None


def survey(data: str, listener: Listener | None = None) -> Report | None:
    """
    Tell what :func:`adopt` would do, and change nothing. A server of before may be running.

    :param data: the data folder.
    :param listener: is told what goes on; the log if None.
    :return: what would be taken over; None if there is a catalogue already.
    :raise StoreError: something in the folder can't be read, or has gone since it was found; or
        there is no room for a catalogue in the folder for temporary files.
    """
    return None if is_made(_catalogue_of(data)) else survey_folder(data, listener)


def tokens_of(catalogue: str) -> ITokens:
    """
    Give the tokens in a catalogue. A server may run. The first one that is added makes the
    catalogue, and the data folder as well, but not the one that this is in.

    :param catalogue: its URL, or the data folder.
    :raise ValueError: it is no such URL, or names no folder.
    :raise FileNotFoundError: the folder that the data folder is in is missing.
    """
    return place_of(catalogue).tokens()


def restored(catalogue: str) -> int:
    """
    Say that an older copy was put in place of a data folder, or of a database. No server may be
    running.

    Clients then compare everything with it, and tombstones are forgotten: one may be that of a blob
    whose id was used again after the copy was made, and clients would delete the only copy of that.
    What :func:`restore` makes needs no such word.

    :param catalogue: its URL, or the data folder.
    :return: how many changes it has.
    :raise StoreError: no server has used it yet, one has the folder open, or it is damaged.
    """
    return place_of(catalogue).begin_history()


def _catalogue_of(data: str) -> str:
    return os.path.join(os.path.abspath(data), OWN_FOLDER)
