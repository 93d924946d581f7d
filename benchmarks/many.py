"""
A server with very many blobs: how it starts, and what it holds in memory.

``python -m benchmarks.many [NUMBER]`` fills a server's folder with that many blobs (1,000,000 if it
is not said), 200,000 of each user, and prints how long a server takes to start on it, after it was
stopped and after it was killed while it took more, and what memory it has: idle, and while so many
lists as :data:`LISTS` are asked for at once.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from statistics import median

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from blobman.server.accounts.tokens import TokenFile
from blobman.server.storage.backends import folder_backend
from blobman.server.storage.interface import BlobName

from .comparison import names
from .listing import RUNS, Server

EACH = 200_000
"""How many blobs a user has."""

LISTS = 90
"""How many lists are asked for at once."""


def users(number: int) -> list[str]:
    """Name as many users as so many blobs take."""
    return [f"user-{index}" for index in range(-(-number // EACH))]


async def fill(data: str, number: int) -> None:
    """Have a backend keep so many blobs."""
    backend = folder_backend(data)
    await backend.open()
    for user in users(number):
        ids = names(min(EACH, number))
        number -= len(ids)
        for start in range(0, len(ids), 1000):
            some = ids[start : start + 1000]
            await backend.store([(BlobName(user, "default", it), b"x" * 800) for it in some])
    await backend.close()


def start(data: str, tokens: TokenFile, user: str) -> tuple[Server, float]:
    """Start a server; give the seconds until it has answered a request."""
    began = time.monotonic()
    server = Server(data, tokens, user)
    server.ask("/health")
    return server, time.monotonic() - began


def start_again(data: str, tokens: TokenFile, user: str, end: signal.Signals) -> list[float]:
    """Start a server, have it take a blob, and end it by a signal, again and again."""
    seconds = []
    for _ in range(RUNS):
        server, took = start(data, tokens, user)
        seconds.append(took)
        with ThreadPoolExecutor(LISTS) as threads:
            for _ in range(LISTS):
                threads.submit(_put, server, user)
            time.sleep(0.2)
            server.process.send_signal(end)
        server.process.wait()
    return seconds


def _put(server: Server, user: str) -> None:
    # The server may be gone.
    with suppress(OSError):
        while True:
            server.ask(f"/blobs/{user}/{os.urandom(16).hex()}", "PUT", b"x" * 800)


def show(what: str, seconds: list[float]) -> None:
    """Print the median of some times, and the longest."""
    print(f"{what}: {median(seconds):.2f} s, at most {max(seconds):.2f} s", flush=True)


def measure_memory(server: Server, user: str) -> None:
    """Print what it holds, idle and beside lists."""
    print(f"idle: {server.memory() / 2**20:.0f} MiB")
    began = time.monotonic()
    with ThreadPoolExecutor(LISTS) as threads:
        lists = [threads.submit(server.ask, f"/blobs/{user}/") for _ in range(LISTS)]
        health = []
        while not all(one.done() for one in lists):
            health.append(server.ask("/health"))
            time.sleep(0.02)
    print(f"{LISTS} lists at once: {time.monotonic() - began:.1f} s", end=", ")
    print(f"/health meanwhile {max(health):.2f} s at most", end=", ")
    print(f"memory {server.memory() / 2**20:.0f} MiB at most")


async def main(number: int) -> None:
    """Run it in a folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="blobman-many-", dir=".") as folder:
        data, tokens = os.path.join(folder, "data"), TokenFile(os.path.join(folder, "tokens"))
        began = time.monotonic()
        await fill(data, number)
        print(f"{number:,} blobs were stored in {time.monotonic() - began:.0f} s", flush=True)
        user = users(number)[0]
        show("start", start_again(data, tokens, user, signal.SIGTERM))
        show("start after kill -9", start_again(data, tokens, user, signal.SIGKILL))
        server, _ = start(data, tokens, user)
        try:
            measure_memory(server, user)
        finally:
            server.stop()


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    react(lambda _: Deferred.fromCoroutine(main(count)))
