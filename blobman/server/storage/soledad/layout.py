"""
Where things are in a folder of Soledad's server, or of blobman's before it had a catalogue. No I/O.

::

    ROOT/{user}/{namespace}/{id[0]}/{id[0:3]}/{id[0:6]}/{id}            the sealed blob
                                                       /{id}.flags      a JSON list of flags
                                                       /{id}.deleted    a tombstone
                                                       /{id}.lock       Soledad's; means nothing
    ROOT/.blobman/journal/{number}                                      small blobs, see ``journal``
                 /quotas.json                                           who may keep how much
                 /staging/                                              uploads that never ended
                 /index.sqlite                                          made from all the others

A name on disk has at most 255 bytes, so blobman gave the flags and tombstones of the longest ids
names made from a hash: ``.{SHA-256 of the id}.deleted``, which holds the id.
"""

from __future__ import annotations

import hashlib
import os

from ....model import is_name
from ..interface import BlobName

FLAGS = ".flags"
TOMBSTONE = ".deleted"
LOCK = ".lock"

OWN_FOLDER = ".blobman"
JOURNAL = os.path.join(OWN_FOLDER, "journal")
STAGING = os.path.join(OWN_FOLDER, "staging")
QUOTAS = os.path.join(OWN_FOLDER, "quotas.json")
USELESS = tuple(
    os.path.join(OWN_FOLDER, name)
    for name in ("index.sqlite", "index.sqlite-wal", "index.sqlite-shm", "quotas.json.lock")
)
"""What is made anew, or only there while something else is."""

LONGEST = 255
"""Bytes of a file's name."""


def prefixes(blob_id: str) -> tuple[str, str, str]:
    """Name the three folders that lead to a blob."""
    return blob_id[:1], blob_id[:3], blob_id[:6]


def sidecar(blob_id: str, suffix: str) -> str:
    """Name the file that stands beside a blob."""
    plain = blob_id + suffix
    if len(plain) <= LONGEST:
        return plain
    return f".{hashlib.sha256(blob_id.encode('ascii')).hexdigest()}{suffix}"


def path_of(name: BlobName, suffix: str = "") -> str:
    """Give the path of a blob, or of the file that stands beside it, from the root."""
    folders = name.user, name.namespace, *prefixes(name.blob_id)
    return os.path.join(*folders, sidecar(name.blob_id, suffix))


def is_blob(file_name: str, leaf: str) -> bool:
    """
    Tell whether a file is a blob.

    :param leaf: the last of the three folders that lead to it.
    """
    return is_name(file_name) and file_name[:6] == leaf


def tombstone_id(file_name: str, content: str, leaf: str) -> str | None:
    """
    Read whose tombstone a file is.

    :param content: what it holds; only that of a hashed name matters.
    :param leaf: the last of the three folders that lead to it.
    :return: the id, or None if it is no tombstone, or in the wrong place.
    """
    blob_id = content if file_name.startswith(".") else file_name[: -len(TOMBSTONE)]
    belongs = is_blob(blob_id, leaf) and sidecar(blob_id, TOMBSTONE) == file_name
    return blob_id if belongs else None
