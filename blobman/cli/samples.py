"""Files to show something with: the same ones every time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

NOTE = b"""\
Dear phone,

the key is under the flower pot. Don't tell the server.

Yours, laptop
"""

_BLOCK = 1_000_000


def make_samples(folder: str) -> list[str]:
    """
    Write the sample files, of 0 bytes to 50 MB.

    :return: their paths, smallest first.
    """
    samples: dict[str, Iterator[bytes]] = {
        "empty.txt": iter([]),
        "note.txt": iter([NOTE]),
        "photo.jpg": _noise("photo", 1),
        "video.mp4": _noise("video", 50),
    }
    paths = []
    for name, content in samples.items():
        path = os.path.join(folder, name)
        with open(path, "wb") as file:
            file.writelines(content)
        paths.append(path)
    return paths


def _noise(seed: str, blocks: int) -> Iterator[bytes]:
    """Make megabytes that look like nothing, of which no two are alike."""
    for number in range(blocks):
        yield hashlib.shake_128(f"{seed} {number}".encode()).digest(_BLOCK)
