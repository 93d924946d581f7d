"""
The files of users, as they are found: :func:`walk`.

It blocks for as long as there are files. No list of ids is ever in memory, only one of folders.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from .... import disk
from ....model import MAX_NAME_LENGTH, Flags, is_name
from ....protocol import TAG_SIZE
from ..interface import BlobName
from . import layout
from .files import Odd, flags_beside, odd, reading

_LINK = "it is a symbolic link"
_SHARED = "it leads to what belongs to another user"
_MISPLACED = "nothing like it belongs there"


class BlobFile(NamedTuple):
    """
    A blob.

    :ivar path: from the root.
    :ivar tag: its last 16 bytes; fewer if it does not have as many.
    :ivar date: when it was put, in nanoseconds since the epoch.
    :ivar flags: None if they are damaged.
    """

    name: BlobName
    path: str
    size: int
    tag: bytes
    date: int
    flags: tuple[Flags, ...] | None


class Tombstone(NamedTuple):
    """
    What is left of a blob that was deleted.

    :ivar date: when that was, in nanoseconds since the epoch.
    """

    name: BlobName
    date: int


Found: TypeAlias = "BlobFile | Tombstone | Odd"


class _Level(NamedTuple):
    """
    Folders of one kind.

    :ivar shared: with so many letters the name of the folder begins that they are in.
    :ivar longest: letters of their names.
    :ivar why_not: why others are not looked into.
    """

    shared: int
    longest: int
    why_not: str


_LEVELS = (
    _Level(0, MAX_NAME_LENGTH, "no user can have that name"),
    _Level(0, MAX_NAME_LENGTH, "no namespace can have that name"),
    _Level(0, 1, _MISPLACED),
    _Level(1, 3, _MISPLACED),
    _Level(3, 6, _MISPLACED),
)


def walk(root: str) -> Iterator[Found]:
    """
    Find what belongs to users, and what is odd: namespace by namespace.

    :param root: the data folder.
    :raise StoreError: something can't be read, so that nobody knows what it is.
    """
    yield from _walk(root, ())


def _walk(root: str, parts: tuple[str, ...]) -> Iterator[Found]:
    if len(parts) == len(_LEVELS):
        yield from _walk_leaf(root, parts)
        return
    path = os.path.join(root, *parts)
    with reading(path), os.scandir(path) as entries:
        folders = sorted(entries, key=lambda entry: entry.name)
    targets: set[str] = set()
    for entry in folders:
        if not parts and entry.name == layout.OWN_FOLDER:
            continue
        why = _why_not(entry, parts)
        if why is None and entry.is_symlink():
            why = _why_not_followed(entry, targets)
        if why is None:
            yield from _walk(root, (*parts, entry.name))
        else:
            yield odd(os.path.join(*parts, entry.name), why)


def _why_not(entry: os.DirEntry[str], parts: tuple[str, ...]) -> str | None:
    """Say why something is not looked into, if it is not; it is in the folders ``parts``."""
    with reading(entry.path):
        # The folder of a user may be on another disk.
        if parts and entry.is_symlink():
            return _LINK
        if not entry.is_dir():
            return _MISPLACED
    shared, longest, why_not = _LEVELS[len(parts)]
    fits = is_name(entry.name) and len(entry.name) <= longest
    return None if fits and (not shared or entry.name[:shared] == parts[-1]) else why_not


def _why_not_followed(entry: os.DirEntry[str], targets: set[str]) -> str | None:
    """
    Say why the link that is a user's folder is not followed, if it is not.

    :param targets: where others lead; this one is added.
    """
    target, root = os.path.realpath(entry.path), os.path.realpath(os.path.dirname(entry.path))
    if target in targets or os.path.commonpath((target, root)) == root:
        return _SHARED
    targets.add(target)
    return None


def _walk_leaf(root: str, parts: tuple[str, ...]) -> Iterator[Found]:
    path = os.path.join(root, *parts)
    with reading(path), os.scandir(path) as entries:
        for entry in entries:
            yield from _look(root, parts, entry)


def _look(root: str, parts: tuple[str, ...], entry: os.DirEntry[str]) -> Iterator[Found]:
    user, namespace, *_, leaf = parts
    path = os.path.join(*parts, entry.name)
    blob_id, suffix = os.path.splitext(entry.name)
    if entry.is_symlink():
        if suffix != layout.LOCK:
            yield odd(path, _LINK)
    elif not entry.is_file(follow_symlinks=False):
        yield odd(path, _MISPLACED)
    elif layout.is_blob(entry.name, leaf):
        yield _read_blob(root, BlobName(user, namespace, entry.name), path)
    elif suffix == layout.TOMBSTONE:
        content = _read_start(entry.path) if entry.name.startswith(".") else ""
        whose = layout.tombstone_id(entry.name, content, leaf)
        date = entry.stat(follow_symlinks=False).st_mtime_ns
        if whose is None:
            yield odd(path, "it is nobody's tombstone")
        else:
            yield Tombstone(BlobName(user, namespace, whose), date)
    elif suffix != layout.FLAGS or not (entry.name.startswith(".") or _has_blob(entry, blob_id)):
        yield odd(path, _MISPLACED)


def _has_blob(entry: os.DirEntry[str], blob_id: str) -> bool:
    return os.path.lexists(os.path.join(os.path.dirname(entry.path), blob_id))


def _read_start(path: str) -> str:
    with reading(path), open(path, encoding="ascii", errors="replace") as file:
        return file.read(layout.LONGEST)


def _read_blob(root: str, name: BlobName, path: str) -> BlobFile:
    full_path = os.path.join(root, path)
    with reading(full_path), disk.opened(full_path) as descriptor:
        status = os.fstat(descriptor)
        tag = os.pread(descriptor, TAG_SIZE, max(status.st_size - TAG_SIZE, 0))
    flags = flags_beside(root, name)
    return BlobFile(name, path, status.st_size, tag, status.st_mtime_ns, flags)
