"""
Walk the server's folder, and make the index say what is there.

It blocks for as long as there are files. Only a part of one namespace is in memory at a time.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator

from ..model import is_name
from . import disk, layout
from .flagsfile import look_at_flags
from .folder import BlobFolder
from .index import NOTHING, Entry
from .storage import BlobName

_TRANSACTION = 2000

Leaf = tuple[int, list[tuple[BlobName, Entry]]]
"""How many names a folder and the index have for it, and what of these the index has not so."""

Steps = Iterator[Leaf]


def rebuild(folder: BlobFolder) -> None:
    """Compare the index with the files while nothing else happens, and put it right."""
    waiting: list[tuple[BlobName, Entry]] = []
    for _, differing in compare(folder):
        waiting += differing
        if len(waiting) >= _TRANSACTION:
            folder.index.note_all(waiting)
            waiting = []
    folder.index.note_all(waiting)


def put_right(folder: BlobFolder, steps: Steps, most: int) -> bool:
    """
    Go on comparing the index with the files while the server serves, and put it right.

    :param steps: made by :func:`compare`, and gone on with by each call.
    :param most: about how many names are looked at.
    :return: whether this was the end.
    """
    looked_at = 0
    for number, differing in steps:
        for name, _ in differing:
            folder.refresh(name)
        looked_at += max(number, 1)
        if looked_at >= most:
            return False
    return True


def compare(folder: BlobFolder) -> Steps:
    """Compare the index with the files, folder by folder. It blocks."""
    for user, namespace in sorted({*_namespaces(folder.root), *folder.index.namespaces()}):
        path = os.path.join(folder.root, user, namespace)
        for prefix in sorted({*_prefixes(path), *folder.index.prefixes(user, namespace)}):
            known: dict[str, dict[str, Entry]] = defaultdict(dict)
            for blob_id, entry in folder.index.entries(user, namespace, prefix).items():
                known[layout.prefixes(blob_id)[2]][blob_id] = entry
            leaves = {it.name for it in _folders(os.path.join(path, prefix[:1], prefix))}
            for leaf in sorted({*known, *leaves}):
                if layout.prefixes(leaf)[1:] == (prefix, leaf):
                    there = _read_leaf(path, leaf)
                    yield len(there), _differences(user, namespace, known[leaf], there)


def _differences(
    user: str, namespace: str, known: dict[str, Entry], there: dict[str, Entry]
) -> list[tuple[BlobName, Entry]]:
    return [
        (BlobName(user, namespace, blob_id), there.get(blob_id, NOTHING))
        for blob_id in {*known, *there}
        if known.get(blob_id) != there.get(blob_id)
    ]


def _namespaces(root: str) -> Iterator[tuple[str, str]]:
    for user in _folders(root, follow_links=True):
        if is_name(user.name):
            for namespace in _folders(user.path):
                if is_name(namespace.name):
                    yield user.name, namespace.name


def _prefixes(namespace: str) -> Iterator[str]:
    for first in _folders(namespace):
        for second in _folders(first.path):
            if layout.prefixes(second.name)[:2] == (first.name, second.name):
                yield second.name


def _read_leaf(namespace: str, leaf: str) -> dict[str, Entry]:
    folders = layout.prefixes(leaf)
    path = os.path.join(namespace, *folders)
    found: dict[str, Entry] = {}
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
            flags = look_at_flags(os.path.join(path, beside)) if beside in names else (0, 0)
            entry = Entry(status.st_size, status.st_mtime_ns, flags[0], entry.deleted, flags[1])
        else:
            entry = entry._replace(deleted=status.st_mtime_ns)
        found[blob_id] = entry
    return found


def _read_tombstone(path: str, name: str, folders: tuple[str, str, str]) -> str | None:
    if not name.endswith(layout.TOMBSTONE):
        return None
    content = ""
    if name.startswith("."):
        try:
            with open(os.path.join(path, name), encoding="ascii", errors="replace") as file:
                content = file.read(layout.LONGEST)
        except FileNotFoundError:
            return None
    return layout.tombstone_id(name, content, folders)


def _folders(path: str, follow_links: bool = False) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return [entry for entry in entries if entry.is_dir(follow_symlinks=follow_links)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _files(path: str) -> set[str]:
    try:
        with os.scandir(path) as entries:
            return {entry.name for entry in entries if entry.is_file(follow_symlinks=False)}
    except (FileNotFoundError, NotADirectoryError):
        return set()
