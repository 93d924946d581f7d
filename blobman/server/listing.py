"""Walk the server's folder, to list what is there. It blocks, for as long as there are files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from ..model import is_name
from . import layout


class Found(NamedTuple):
    """
    A blob or a tombstone.

    :ivar changed: the file's modification time, nanoseconds since the epoch.
    :ivar size: bytes.
    :ivar has_flags: whether a flags file stands beside it.
    """

    blob_id: str
    path: str
    is_tombstone: bool
    changed: int
    size: int
    has_flags: bool


def walk(folder: str) -> Iterator[Found]:
    """Find everything in the folder of one namespace, in no order."""
    for first in _folders(folder):
        for second in _folders(first.path):
            for third in _folders(second.path):
                yield from _read_leaf(third.path, (first.name, second.name, third.name))


def namespaces(root: str) -> Iterator[tuple[str, str, str]]:
    """Find the users and their namespaces, each with its folder."""
    for user in _folders(root):
        if is_name(user.name):
            for namespace in _folders(user.path):
                if is_name(namespace.name):
                    yield user.name, namespace.name, namespace.path


def _folders(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _read_leaf(path: str, folders: tuple[str, str, str]) -> Iterator[Found]:
    with os.scandir(path) as entries:
        files = {entry.name: entry for entry in entries if entry.is_file(follow_symlinks=False)}
    for name, entry in files.items():
        blob_id = name if layout.is_blob(name, folders) else _read_tombstone(entry, folders)
        if blob_id is None:
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        yield Found(
            blob_id=blob_id,
            path=entry.path,
            is_tombstone=blob_id != name,
            changed=status.st_mtime_ns,
            size=status.st_size,
            has_flags=layout.sidecar(blob_id, layout.FLAGS) in files,
        )


def _read_tombstone(entry: os.DirEntry[str], folders: tuple[str, str, str]) -> str | None:
    if not entry.name.endswith(layout.TOMBSTONE):
        return None
    content = ""
    if entry.name.startswith("."):
        try:
            with open(entry.path, encoding="ascii", errors="replace") as file:
                content = file.read(layout.MAX_FILE_NAME)
        except FileNotFoundError:
            return None
    return layout.tombstone_id(entry.name, content, folders)
