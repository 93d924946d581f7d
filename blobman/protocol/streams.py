"""The frames of a download stream; the first line of an upload stream, and its answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from .headers import read_tag, write_tag
from .messages import ProtocolError, read_json
from .sizes import TAG_SIZE, TAG_TEXT_SIZE

FRAME_HEADER_SIZE = 8 + TAG_TEXT_SIZE + 1
"""Bytes before each blob in a download stream: the size in hex, the tag, a space."""

MAX_FRAME_SIZE = 0xFFFFFFFF
"""Bytes of the largest sealed blob that a frame can announce in its eight hex digits."""

NOT_THERE = (0, bytes(TAG_SIZE))
"""The size and the tag in the frame of a blob that the server does not have; nothing follows it."""


def write_frame_header(size: int, tag: bytes) -> bytes:
    """
    Make what stands before a sealed blob of ``size`` bytes in a download stream.

    :raise ValueError: the size is above :data:`MAX_FRAME_SIZE`, or the tag is not one.
    """
    if not 0 <= size <= MAX_FRAME_SIZE:
        raise ValueError(f"a blob of {size} bytes does not fit a frame")
    if len(tag) != TAG_SIZE:
        raise ValueError(f"a tag has {TAG_SIZE} bytes, not {len(tag)}")
    return f"{size:08x}{write_tag(tag)} ".encode("ascii")


def read_frame_header(header: bytes) -> tuple[int, bytes]:
    """
    Read what stands before a blob in a download stream.

    :param header: :data:`FRAME_HEADER_SIZE` bytes.
    :return: the sealed size in bytes, and the tag.
    :raise ProtocolError: it is none.
    """
    text = header.decode("latin-1")
    if not re.fullmatch(r"[0-9a-f]{8}", text[:8]) or text[-1:] != " ":
        raise ProtocolError("a frame of the stream does not begin with its size")
    return int(text[:8], 16), read_tag(text[8:-1])


def write_manifest(entries: Iterable[tuple[str, int]]) -> bytes:
    """Make the first line of an upload stream: the ids and sealed sizes that follow."""
    return json.dumps([[blob_id, size] for blob_id, size in entries]).encode("ascii") + b"\n"


def read_manifest(line: bytes) -> list[tuple[str, int]]:
    """
    Read the first line of an upload stream. Ids are not checked here: each is judged by itself.

    :raise ProtocolError: it is not a list of ids and sizes.
    """
    manifest = read_json(line)
    if not isinstance(manifest, list):
        raise ProtocolError("the first line of a stream must be a JSON list")
    entries = []
    for entry in manifest:
        match entry:
            case [str(blob_id), int(size)] if size >= 0 and not isinstance(size, bool):
                entries.append((blob_id, size))
            case _:
                raise ProtocolError(f"not an id with a size: {entry!r:.60}")
    return entries


STREAM_RESULTS = ("created", "exists", "quota", "invalid")
"""What can become of a blob in an upload stream."""


def write_results(results: Iterable[tuple[str, str]]) -> bytes:
    """Make the answer to an upload stream: ids with what became of them, in the order sent."""
    return json.dumps([[blob_id, result] for blob_id, result in results]).encode("ascii")


def read_results(body: bytes) -> list[tuple[str, str]]:
    """
    Read the answer to an upload stream.

    :return: ids, each with one of :data:`STREAM_RESULTS`.
    :raise ProtocolError: it is not a list of those.
    """
    answer = read_json(body)
    results = []
    for entry in answer if isinstance(answer, list) else [answer]:
        match entry:
            case [str(blob_id), str(result)] if result in STREAM_RESULTS:
                results.append((blob_id, result))
            case _:
                raise ProtocolError(f"not an id with a result: {entry!r:.60}")
    return results
