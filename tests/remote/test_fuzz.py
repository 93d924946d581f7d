"""Answers that were damaged on the way, at random: no error but ours comes of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from blobman import BlobError, BlobManager
from blobman.protocol import write_frame_header, write_tag

from ..support import content, doc
from ..test_hostile_server import sealed
from .raw import RawServerTestCase

ROUNDS = 100

BLOB = sealed(content(3000), "x")
TAG = f"Tag: {write_tag(BLOB[-16:])}"

ANSWERS: list[tuple[int, bytes, list[str]]] = [
    (200, b"", []),
    (200, b"[]", []),
    (200, b'["x", "y"]', []),
    (200, b'{"count": 3}', []),
    (200, b'["PENDING"]', []),
    (200, BLOB, [TAG]),
    (200, write_frame_header(len(BLOB), BLOB[-16:]) + BLOB, []),
    (206, b"Ez", [TAG, f"Content-Range: bytes 0-1/{len(BLOB)}"]),
    (302, b"", ["Location: /elsewhere"]),
    (401, b"Unauthorized", ["WWW-Authenticate: token"]),
    (404, b"Blob doesn't exist: x", []),
    (409, b"", ["Blobs-Answer: exists"]),
    (503, b"", ["Retry-After: 3"]),
]


def forms() -> Iterator[bytes]:
    """Write each answer in the ways that HTTP has for its length."""
    for code, body, lines in ANSWERS:
        head = "\r\n".join([f"HTTP/1.1 {code} X", *lines]).encode()
        yield head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        chunk = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
        yield head + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n"
        yield head.replace(b"1.1", b"1.0") + b"\r\n\r\n" + body


def damage(random: Random, data: bytes) -> bytes:
    """Change a few bytes, most of them in the headers."""
    damaged = bytearray(data)
    for _ in range(random.randint(0, 4)):
        at = random.randrange(min(len(damaged), random.choice((60, 200, 10_000))) or 1)
        damaged[at : at + random.choice((0, 0, 1, 5))] = random.choice(
            (b"\r\n", b" ", b"", random.randbytes(1), random.randbytes(5))
        )
    return bytes(damaged[: random.choice((len(damaged), len(damaged), random.randrange(200)))])


def asks(manager: BlobManager, blob_id: str) -> list[Callable[[], Any]]:
    return [
        manager.count,
        manager.remote_list,
        lambda: manager.put(doc(b"data", f"put-{blob_id}"), 4),
        lambda: manager.get("x"),
        lambda: manager.get(f"get-{blob_id}"),
        lambda: manager.set_flags("x", []),
        lambda: manager.get_flags("x"),
        lambda: manager.delete(f"put-{blob_id}"),
    ]


class DamagedAnswersTests(RawServerTestCase):
    async def test_every_operation(self) -> None:
        random = Random(11)
        answers = list(forms())
        self.handle = lambda server, request: server.say_and_close(
            damage(random, random.choice(answers))
        )
        streaming = self.make_manager(remote_stream=self.url.replace("blobs", "stream"))
        for number in range(ROUNDS):
            for ask in asks((self.manager, streaming)[number % 2], str(number)):
                with contextlib.suppress(BlobError):
                    await ask()
