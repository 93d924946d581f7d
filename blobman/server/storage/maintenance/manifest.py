"""What a backup says of itself. It is written last: what has none is no backup."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

import apsw

from .... import disk
from ....errors import StoreError
from ....sqlite import ask
from ..catalogue.questions import Questions
from ..interface import DamagedError

FORMAT = 1
_LARGEST = 4096


@dataclass(frozen=True)
class Manifest:
    """
    What a backup says of itself. Its payloads are those that its catalogue names.

    :ivar made: when, in whole seconds since the epoch.
    :ivar number: that of the last change in it.
    :ivar blobs: how many there are.
    :ivar size: their bytes, sealed as they are.
    :ivar payloads: how many of them are in files.
    :ivar catalogue: the SHA-256 of the catalogue, in hexadecimal digits.
    """

    made: int
    number: int
    blobs: int
    size: int
    payloads: int
    catalogue: str

    @property
    def sums(self) -> tuple[int, int, int, int]:
        """What is to be so in its catalogue; see :func:`sums_of`."""
        return self.number, self.blobs, self.size, self.payloads


def write_manifest(path: str, manifest: Manifest) -> None:
    """Write it, durably but for the entry of its folder."""
    text = json.dumps({"format": FORMAT, **asdict(manifest)}, indent=1)
    with disk.creating(path) as descriptor:
        disk.write_all(descriptor, text.encode("ascii") + b"\n")


def read_manifest(path: str) -> Manifest:
    """
    Read it.

    :raise FileNotFoundError: there is none.
    :raise DamagedError: it is not one.
    :raise StoreError: it is of a later version of this program.
    """
    with open(path, "rb") as file:
        text = file.read(_LARGEST)
    try:
        fields = json.loads(text)
        if fields.pop("format") > FORMAT:
            raise StoreError("the backup was made by a later version of this program")
        manifest = Manifest(**fields)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged") from error
    if {name: type(it) for name, it in asdict(manifest).items()} != _TYPES:
        raise DamagedError(f"{path} is damaged")
    return manifest


_TYPES = {**dict.fromkeys(("made", "number", "blobs", "size", "payloads"), int), "catalogue": str}


def sums_of(connection: apsw.Connection) -> tuple[int, int, int, int]:
    """Give what a manifest says of a catalogue: its last number, blobs, their bytes, payloads."""
    sums = ask(connection, "SELECT count(*), ifnull(sum(size), 0), count(key) FROM blobs")[0]
    return (Questions(connection).last_number(), *sums)


def digest_file(path: str) -> str:
    """
    Give the SHA-256 of a file, in hexadecimal digits.

    :raise OSError: it can't be read.
    """
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while data := file.read(1024 * 1024):
            digest.update(data)
    return digest.hexdigest()
