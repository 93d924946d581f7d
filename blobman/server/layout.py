"""
Where things are in the server's folder. No I/O.

::

    ROOT/{user}/{namespace}/{id[0]}/{id[0:3]}/{id[0:6]}/{id}            the sealed blob
                                                       /{id}.flags      JSON list of flags
                                                       /{id}.deleted    a tombstone
    ROOT/.blobman/                                                      the server's own

This is Soledad's layout. A name on disk has at most 255 bytes, so the flags and tombstones of
the longest ids have names made from a hash: ``.{SHA-256 of the id}.deleted``, which holds the id.
Neither such names nor ``.blobman`` can be an id or a user, which have no dots.
"""

from __future__ import annotations

import hashlib
import os

from ..model import is_name
from .checking import FLAGS as FLAGS
from .checking import LONGEST as LONGEST
from .checking import TOMBSTONE as TOMBSTONE
from .storage import BlobName

OWN_FOLDER = ".blobman"


def prefixes(blob_id: str) -> tuple[str, str, str]:
    """Name the three folders that lead to a blob."""
    return blob_id[:1], blob_id[:3], blob_id[:6]


def folder_of(root: str, name: BlobName) -> str:
    """Give the path of the folder that a blob is in."""
    # Names have been checked; joining them one by one would be noticed.
    return os.sep.join((root, name.user, name.namespace, *prefixes(name.blob_id)))


def sidecar(blob_id: str, suffix: str) -> str:
    """Name the file that stands beside a blob."""
    plain = blob_id + suffix
    if len(plain) <= LONGEST:
        return plain
    return f".{hashlib.sha256(blob_id.encode('ascii')).hexdigest()}{suffix}"


def is_blob(file_name: str, folders: tuple[str, str, str]) -> bool:
    """Whether a file is a blob, in the folders where it belongs."""
    return is_name(file_name) and prefixes(file_name) == folders


def tombstone_id(file_name: str, content: str, folders: tuple[str, str, str]) -> str | None:
    """
    Read whose tombstone a file is.

    :param content: what it holds; only that of a hashed name matters.
    :return: the id, or None if it is no tombstone, or in the wrong place.
    """
    if not file_name.endswith(TOMBSTONE):
        return None
    blob_id = content if file_name.startswith(".") else file_name[: -len(TOMBSTONE)]
    belongs = is_blob(blob_id, folders) and sidecar(blob_id, TOMBSTONE) == file_name
    return blob_id if belongs else None
