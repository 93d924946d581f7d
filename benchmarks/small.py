"""
What small blobs cost a server's processor.

``python -m benchmarks.small [NUMBER]`` starts a server, and sends it that many blobs of 10 kB
(3,000 if it is not said) from bare clients, ten at a time: one in a request, and :data:`TOGETHER`
in one. Then it asks for them, likewise. It prints how many it takes and gives per second, and the
microseconds of the processor for each, with what the server does in :data:`AFTERWARDS` seconds
after the last one.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from blobman.server.accounts.tokens import TokenFile

from .comparison import USER
from .listing import Server

SIZE = 10_753
"""Bytes of a sealed blob of 10 kB."""

TOGETHER = 60
"""How many blobs travel in one request."""

CLIENTS = 10
"""How many requests are under way at once."""

AFTERWARDS = 8
"""Seconds for which the server is watched when all blobs have been taken."""

Ask = Callable[[http.client.HTTPConnection, list[str]], None]
"""Makes a request for some ids."""


class Client:
    """Makes requests that cost the machine as little as possible."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._headers = headers
        self._content = os.urandom(SIZE)

    def _ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None
    ) -> None:
        connection.request(method, path, body, self._headers)
        response = connection.getresponse()
        response.read()
        assert response.status == 200, response.status

    def put(self, connection: http.client.HTTPConnection, ids: list[str]) -> None:
        """Send one blob."""
        self._ask(connection, "PUT", f"/blobs/{USER}/{ids[0]}", self._content)

    def get(self, connection: http.client.HTTPConnection, ids: list[str]) -> None:
        """Ask for one blob."""
        self._ask(connection, "GET", f"/blobs/{USER}/{ids[0]}", None)

    def put_many(self, connection: http.client.HTTPConnection, ids: list[str]) -> None:
        """Send some blobs."""
        line = json.dumps([[it, SIZE] for it in ids]).encode() + b"\n"
        body = line + self._content * len(ids)
        self._ask(connection, "POST", f"/stream/{USER}/?direction=upload", body)

    def get_many(self, connection: http.client.HTTPConnection, ids: list[str]) -> None:
        """Ask for some blobs."""
        body = json.dumps(ids).encode()
        self._ask(connection, "POST", f"/stream/{USER}/?direction=download", body)


def measure(what: str, server: Server, ask: Ask, ids: list[str], together: int) -> None:
    """Ask for all, and print what that took."""
    before, began = server.cpu(), time.monotonic()
    groups = iter([ids[start : start + together] for start in range(0, len(ids), together)])
    with ThreadPoolExecutor(CLIENTS) as threads:
        list(threads.map(lambda _: ask_for_all(server, ask, groups), range(CLIENTS)))
    seconds = time.monotonic() - began
    time.sleep(AFTERWARDS)
    cost = (server.cpu() - before) / len(ids) * 1e6
    print(f"{what}: {len(ids) / seconds:,.0f} blobs/s, {cost:.0f} us each", flush=True)


def ask_for_all(server: Server, ask: Ask, groups: Iterator[list[str]]) -> None:
    """Make one request after another, on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    for ids in groups:
        ask(connection, ids)
    connection.close()


def main(number: int) -> None:
    """Run it in a folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="blobman-small-", dir=".") as folder:
        tokens = TokenFile(os.path.join(folder, "tokens"))
        server = Server(os.path.join(folder, "data"), tokens, USER)
        client = Client(server.headers)
        ids = [os.urandom(16).hex() for _ in range(2 * number)]
        try:
            measure("put, one in a request", server, client.put, ids[:number], 1)
            measure(f"put, {TOGETHER} in one", server, client.put_many, ids[number:], TOGETHER)
            measure("get, one in a request", server, client.get, ids[:number], 1)
            measure(f"get, {TOGETHER} in one", server, client.get_many, ids[number:], TOGETHER)
        finally:
            server.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3000)
