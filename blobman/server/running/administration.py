"""
What an administrator does to a data folder, from another process than the server.

All of this blocks.
"""

from __future__ import annotations

import errno
import os
from contextlib import AbstractContextManager
from functools import partial

from ...errors import StoreError
from ...model import check_name, check_size
from ..accounts.interface import ITokens
from ..storage.backends import OWN_FOLDER
from ..storage.catalogue.interface import Quotas, Usage
from ..storage.catalogue.tokens import CatalogueTokens
from ..storage.catalogue.transaction import Transaction
from ..storage.catalogue.visiting import asking, begin_history, changing, is_made, make
from ..storage.maintenance.backup import back_up
from ..storage.maintenance.check import check
from ..storage.maintenance.repair import repair
from ..storage.maintenance.restore import restore
from ..storage.soledad.adoption import Adoption, is_older
from ..storage.soledad.adoption import survey as survey_folder
from ..storage.soledad.files import Odd
from ..storage.soledad.taking import Listener, Report

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
    with _changing(data) as changes:
        changes.set_quota(user, size)


def unset_quota(data: str, user: str) -> None:
    """
    Give a user the default quota again.

    :param data: the data folder.
    :raise StoreError: the catalogue can't be written.
    """
    with _changing(data) as changes:
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


def _changing(data: str) -> AbstractContextManager[Transaction]:
    return changing(_catalogue_of(data), partial(_refuse_older, data))


def _refuse_older(data: str, _: object) -> None:
    if is_older(data):
        raise StoreError(
            f"{data} has blobs, but no catalogue yet: start the server, or use blobman server "
            "adopt, to have it taken over"
        )


def tokens_of(catalogue: str) -> ITokens:
    """
    Give the tokens in a catalogue. A server may run. The first one that is added makes the
    catalogue, and the data folder as well, but not the one that this is in.

    :param catalogue: its URL, ``sqlite:DIR`` with the data folder; or that folder alone.
    :raise ValueError: it is another URL, or names no folder.
    :raise FileNotFoundError: the folder that the data folder is in is missing.
    """
    data = os.path.abspath(_folder_of(catalogue))
    above = os.path.dirname(data)
    if not os.path.isdir(above):
        raise FileNotFoundError(errno.ENOENT, "the folder is missing", above)
    return CatalogueTokens(_catalogue_of(data), partial(_refuse_older, data))


def _folder_of(catalogue: str) -> str:
    scheme, colon, folder = catalogue.partition(":")
    if not colon or os.sep in scheme:
        folder = catalogue
    elif scheme.lower() != "sqlite":
        # The rest may hold a password.
        raise ValueError(f"a catalogue must be sqlite:DIR, and {scheme}: is not supported")
    if not folder:
        raise ValueError("a catalogue must be sqlite:DIR, with the server's data folder")
    return folder


def restored(data: str) -> int:
    """
    Say that an older copy was put in place of a data folder. No server may be running.

    Clients then compare everything with it, and tombstones are forgotten: one may be that of a blob
    whose id was used again after the copy was made, and clients would delete the only copy of that.
    What :func:`restore` makes needs no such word.

    :param data: the data folder.
    :return: the number of the last change that it has.
    :raise StoreError: no server has used the folder yet, one has it open, or it is damaged.
    """
    return begin_history(_catalogue_of(data))


def _catalogue_of(data: str) -> str:
    return os.path.join(os.path.abspath(data), OWN_FOLDER)
