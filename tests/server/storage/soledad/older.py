"""Folders as they were before there was a catalogue, written anew from what is said of them."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from pathlib import Path

SECOND = 1_000_000_000
DATE = 1_700_000_000 * SECOND


def sealed(seed: str, size: int = 800) -> bytes:
    """What could be a sealed blob, for all that a server knows."""
    return hashlib.shake_128(seed.encode()).digest(size)


def record(
    kind: bytes, name: tuple[str, str, str], content: bytes = b"", date: int = DATE
) -> bytes:
    """A record of the journal: ``D``, a blob with a date, ``P``, one without, or ``K``."""
    text = json.dumps(name).encode()
    rest = text + (date.to_bytes(8, "big") if kind == b"D" else b"") + content
    return struct.pack(">cIII", kind, len(text), len(content), zlib.crc32(rest)) + rest


class OlderFolder:
    """
    A data folder.

    :param path: it is made if need be.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.path.mkdir(parents=True, exist_ok=True)

    def leaf(self, user: str, namespace: str, blob_id: str) -> Path:
        folder = self.path / user / namespace / blob_id[:1] / blob_id[:3] / blob_id[:6]
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _beside(self, name: tuple[str, str, str], suffix: str) -> Path:
        plain = name[2] + suffix
        if len(plain) > 255:
            plain = f".{hashlib.sha256(name[2].encode()).hexdigest()}{suffix}"
        return self.leaf(*name) / plain

    def put(
        self, name: tuple[str, str, str], content: bytes, flags: bytes = b"", date: int = DATE
    ) -> Path:
        path = self.leaf(*name) / name[2]
        path.write_bytes(content)
        os.utime(path, ns=(date, date))
        if flags:
            self.flags(name, flags, date)
        return path

    def flags(self, name: tuple[str, str, str], flags: bytes, date: int = DATE) -> Path:
        path = self._beside(name, ".flags")
        path.write_bytes(flags)
        os.utime(path, ns=(date, date))
        return path

    def tombstone(self, name: tuple[str, str, str], date: int = DATE) -> Path:
        path = self._beside(name, ".deleted")
        path.write_text(name[2] if path.name.startswith(".") else "")
        os.utime(path, ns=(date, date))
        return path

    def journal(self, number: int, content: bytes) -> Path:
        path = self.own("journal") / f"{number:012}"
        path.write_bytes(content)
        return path

    def own(self, name: str = "") -> Path:
        folder = self.path / ".blobman" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder
