"""``blobman demo``: a server, a laptop and a phone in one process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from typing import Any

from blobman import BlobManager

from .journeys import Journey, travel
from .samples import make_samples
from .screen import Screen
from .sources import find_files
from .stage import Stage
from .text import duration_text, hexdump_lines, shorten, size_text
from .waiting import in_thread

LABEL_SIZE = 737
"""How many bytes of a sealed blob come before its encrypted content."""

NAME_WIDTH = 22
"""The most letters of a file's name that are shown."""

MOST_FILES = 8
"""The most of the server's files that are listed."""

DUMPED = 48
"""How many bytes are shown of each thing."""


async def demonstrate(reactor: Any, files: Sequence[str]) -> int:
    """
    Show files on their way from a laptop to a phone.

    :param files: none for some that are made for it.
    :return: the exit code.
    """
    with tempfile.TemporaryDirectory(prefix="blobman-demo-") as folder:
        paths = await _choose(reactor, files, folder)
        return await _play(reactor, Screen(), Stage(reactor, folder), paths)


async def _choose(reactor: Any, files: Sequence[str], folder: str) -> list[str]:
    """
    Give the files to show.

    :raise OSError: one of them can't be read.
    """
    if not files:
        return await in_thread(reactor, lambda stop: make_samples(folder))

    def failed(path: str, error: OSError) -> None:
        raise error

    paths = list(find_files(files, failed))
    for path in paths:
        open(path, "rb").close()
    return paths


async def _play(reactor: Any, screen: Screen, stage: Stage, paths: Sequence[str]) -> int:
    async with stage.server():
        screen.result(f"A server for this demo is at {stage.url}")
        screen.result("It speaks TLS, with a certificate that was made for it just now.")
        async with stage.device("laptop") as laptop, stage.device("phone") as phone:
            journeys = await _send_all(reactor, screen, stage, (laptop, phone), paths)
            await _show_server(screen, stage, journeys)
            is_gone = await _delete_one(screen, (laptop, phone), journeys)
    return _conclude(screen, journeys, is_gone)


async def _send_all(
    reactor: Any,
    screen: Screen,
    stage: Stage,
    devices: tuple[BlobManager, BlobManager],
    paths: Sequence[str],
) -> list[Journey]:
    _announce(screen, "The laptop puts files. The phone has the same secret, and gets them:")
    names = [shorten(os.path.basename(path), NAME_WIDTH) for path in paths]
    width = max(map(len, ["file", *names]))
    screen.result(_row(width, "file", "size", "sealed", "up", "down", "verified"))
    journeys = []
    for name, path in zip(names, paths, strict=True):
        journey = await travel(reactor, stage, *devices, path)
        journeys.append(journey)
        sizes = size_text(journey.size), size_text(journey.sealed)
        times = duration_text(journey.up), duration_text(journey.down)
        screen.result(_row(width, name, *sizes, *times, "yes" if journey.verified else "NO"))
    return journeys


def _row(width: int, name: str, *cells: str) -> str:
    return "  ".join([name.ljust(width), *(cell.rjust(9) for cell in cells)])


async def _show_server(screen: Screen, stage: Stage, journeys: Sequence[Journey]) -> None:
    _announce(screen, "What the server has: an id and a size for each, no name, nothing to read.")
    for journey in journeys[:MOST_FILES]:
        screen.result(f"  {journey.blob_id}  {size_text(journey.sealed):>9}")
    if len(journeys) > MOST_FILES:
        screen.result(f"  ... and {len(journeys) - MOST_FILES} more")
    shown = next((it for it in journeys if it.size), None)
    if shown is not None:
        name = os.path.basename(shown.path)
        _announce(screen, f"{name} as the laptop has it:")
        with open(shown.path, "rb") as file:
            _dump(screen, file.read(DUMPED), 0)
        _announce(screen, "and as the server has it: first a label, with the id,")
        _, label = await stage.look_at_server(shown.blob_id, 0, DUMPED)
        _dump(screen, label, 0)
        screen.result("then the content.")
        _, content = await stage.look_at_server(shown.blob_id, LABEL_SIZE, DUMPED)
        _dump(screen, content, LABEL_SIZE)


def _announce(screen: Screen, text: str) -> None:
    """Show a line between two empty ones."""
    for line in ("", text, ""):
        screen.result(line)


def _dump(screen: Screen, data: bytes, offset: int) -> None:
    for line in hexdump_lines(data, offset):
        screen.result(f"  {line}")


async def _delete_one(
    screen: Screen, devices: tuple[BlobManager, BlobManager], journeys: Sequence[Journey]
) -> bool:
    """Delete a blob on one device, and look whether it goes away on the other."""
    laptop, phone = devices
    blob_id = journeys[0].blob_id
    await laptop.delete(blob_id)
    await phone.sync()
    is_gone = blob_id not in await phone.local_list()
    outcome = "it is gone there too" if is_gone else "it is STILL THERE"
    name = os.path.basename(journeys[0].path)
    screen.result("")
    screen.result(f"The laptop deletes {name}, the phone synchronizes: {outcome}.")
    return is_gone


def _conclude(screen: Screen, journeys: Sequence[Journey], is_gone: bool) -> int:
    different = sum(not journey.verified for journey in journeys)
    screen.result("")
    if different:
        screen.result(f"It does NOT work: {different} of {len(journeys)} arrived different.")
    elif is_gone:
        screen.result(f"It works: {len(journeys)} of {len(journeys)} arrived as they left.")
    return 1 if different or not is_gone else 0
