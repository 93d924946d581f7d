"""
Payload files that are not where the database says, or that it does not know.

A file that no database knows can belong to one that was put back too old, or damaged, or lost:
its key is in there. So it is moved aside, and comes back when that database does.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from twisted.logger import Logger

from .payload_writer import PART

__all__ = ["bring_home", "found_in", "payload_names", "scratch_of", "settle"]

_log = Logger()
_NAME = re.compile(r"[0-9a-f]{32}")


def found_in(folder: Path) -> Path:
    """Name the folder of those that nobody knows."""
    return folder / "found"


def scratch_of(folder: Path) -> Path:
    """Name the folder of those whose database is being built."""
    return folder.with_name(folder.name + ".new")


def payload_names(folder: Path) -> list[str]:
    """List the payload files in a folder; none if there is no such folder."""
    return [name for name in _names(folder) if _NAME.fullmatch(name)]


def _names(folder: Path) -> list[str]:
    with suppress(FileNotFoundError, NotADirectoryError):
        return os.listdir(folder)
    return []


def settle(folder: Path, known: Collection[str]) -> None:
    """
    Bring back what is known, move aside what is not, and remove what was never whole.

    Only who has the store alone may do it: others may be writing files that they have not
    recorded yet.

    :param folder: that of the payload files.
    :param known: those that are recorded.
    """
    back = bring_home(found_in(folder), folder, known)
    bring_home(scratch_of(folder), folder, known)
    if back:
        _log.info("Took {count} files back into {folder}", count=len(back), folder=str(folder))
    for name in _names(folder):
        if name.endswith(PART) and _NAME.fullmatch(name[: -len(PART)]):
            with suppress(OSError):
                (folder / name).unlink()
    _put_aside(folder, [name for name in payload_names(folder) if name not in known])


def bring_home(aside: Path, folder: Path, known: Collection[str]) -> list[str]:
    """
    Move files to where they belong.

    :param aside: where they are.
    :param folder: where they belong.
    :param known: their names; others stay.
    :return: those that were moved.
    """
    wanted = [name for name in payload_names(aside) if name in known]
    if wanted:
        folder.mkdir(mode=0o700, exist_ok=True)
    moved = list(_move(aside, folder, wanted))
    with suppress(OSError):
        aside.rmdir()
    return moved


def _put_aside(folder: Path, names: list[str]) -> None:
    if not names:
        return
    aside = found_in(folder)
    with suppress(OSError):
        aside.mkdir(mode=0o700, exist_ok=True)
    moved = list(_move(folder, aside, names))
    _log.warn(
        "{folder} had {count} files of blobs that its database does not know: they are kept in "
        "{found}, and come back with a database that knows them",
        folder=str(folder),
        count=len(moved),
        found=str(aside),
    )


def _move(source: Path, target: Path, names: list[str]) -> Iterator[str]:
    for name in names:
        # What can't be moved stays where it is, which does no harm.
        with suppress(OSError):
            if not (target / name).exists():
                (source / name).rename(target / name)
                yield name
