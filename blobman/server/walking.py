"""
Walk the server's folder, and make the index say what is there.

It blocks for as long as there are files. Only a part of one namespace is in memory at a time.
"""

from __future__ import annotations

import os
import string
from collections.abc import Callable, Iterator

from ..model import is_name
from . import disk, layout
from .folder import BlobFolder, read_flags_file
from .index import NOTHING, Entry, bits
from .storage import BlobName

_FIRST_LETTERS = string.digits + string.ascii_letters + "_-"


def rebuild(folder: BlobFolder) -> None:
    """Compare the index with the files while nothing else happens, and put it right."""
    for differing in _differences(folder, lambda: False):
        folder.index.note_all(differing)


def verify(folder: BlobFolder, is_stopping: Callable[[], bool]) -> None:
    """
    Compare the index with the files while the server serves, and put it right.

    :param is_stopping: asked now and then; True ends it early.
    """
    for differing in _differences(folder, is_stopping):
        for name, _ in differing:
            folder.refresh(name)


def _differences(
    folder: BlobFolder, is_stopping: Callable[[], bool]
) -> Iterator[list[tuple[BlobName, Entry]]]:
    places = {*_namespaces(folder.root), *folder.index.namespaces()}
    for user, namespace in sorted(places):
        for first in _FIRST_LETTERS:
            if is_stopping():
                return
            known = folder.index.entries(user, namespace, first)
            there = _read(os.path.join(folder.root, user, namespace), first)
            yield [
                (BlobName(user, namespace, blob_id), there.get(blob_id, NOTHING))
                for blob_id in {*known, *there}
                if known.get(blob_id) != there.get(blob_id)
            ]


def _namespaces(root: str) -> Iterator[tuple[str, str]]:
    for user in _folders(root):
        if is_name(user.name):
            for namespace in _folders(user.path):
                if is_name(namespace.name):
                    yield user.name, namespace.name


def _read(namespace: str, first: str) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for second in _folders(os.path.join(namespace, first)):
        for third in _folders(second.path):
            _read_leaf(third.path, (first, second.name, third.name), found)
    return found


def _read_leaf(path: str, folders: tuple[str, str, str], found: dict[str, Entry]) -> None:
    names = _files(path)
    for name in names:
        is_blob = layout.is_blob(name, folders)
        blob_id = name if is_blob else _read_tombstone(path, name, folders)
        status = disk.status_of(os.path.join(path, name)) if blob_id else None
        if blob_id is None or status is None:
            continue
        entry = found.get(blob_id, NOTHING)
        if is_blob:
            beside = layout.sidecar(name, layout.FLAGS)
            flags = read_flags_file(os.path.join(path, beside)) if beside in names else []
            entry = Entry(status.st_size, status.st_mtime_ns, bits(flags), entry.deleted)
        else:
            entry = entry._replace(deleted=status.st_mtime_ns)
        found[blob_id] = entry


def _read_tombstone(path: str, name: str, folders: tuple[str, str, str]) -> str | None:
    if not name.endswith(layout.TOMBSTONE):
        return None
    content = ""
    if name.startswith("."):
        try:
            with open(os.path.join(path, name), encoding="ascii", errors="replace") as file:
                content = file.read(layout.MAX_FILE_NAME)
        except FileNotFoundError:
            return None
    return layout.tombstone_id(name, content, folders)


def _folders(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _files(path: str) -> set[str]:
    try:
        with os.scandir(path) as entries:
            return {entry.name for entry in entries if entry.is_file(follow_symlinks=False)}
    except FileNotFoundError:
        return set()
