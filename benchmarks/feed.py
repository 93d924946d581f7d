"""
What the feed costs a server.

``python -m benchmarks.feed [NUMBER]`` fills a server's folder with 1,000 blobs of one user and with
NUMBER of another one (1,000,000 if it is not said), and prints how long it takes to ask for changes
when there are none, and when there is one, of each of them. Then it has clients wait for changes,
and prints what memory and how much CPU that costs the server, and how long a change takes to reach
one of them.
"""

from __future__ import annotations

import http.client
import json
import os
import resource
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from blobman.protocol import write_authorization
from blobman.server.accounts.tokens import TokenFile
from blobman.server.storage.backends import folder_backend
from blobman.server.storage.interface import BlobName

from .comparison import names
from .listing import Server

FEW = 1000
"""How many blobs the other user has."""

RUNS = 200
"""How often each question is asked."""

WAITING = 2000
"""How many clients wait at once, five for each user."""

EACH = 5

QUIET = 10.0
"""Seconds for which nothing changes."""


async def fill(data: str, user: str, number: int) -> None:
    """Have a backend keep so many blobs of a user."""
    backend = folder_backend(data)
    await backend.open()
    ids = names(number)
    for start in range(0, number, 1000):
        some = ids[start : start + 1000]
        await backend.store([(BlobName(user, "default", it), b"x" * 800) for it in some])
    await backend.close()


class Client:
    """A user's connection that is kept."""

    def __init__(self, port: int, user: str, token: str) -> None:
        self.user = user
        self._headers = {"Authorization": write_authorization(user, token)}
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._connection.connect()
        self.socket: socket.socket = self._connection.sock

    def send(self, method: str, path: str, body: bytes | None = None) -> None:
        """Send a request; the path is what follows the user."""
        self._connection.request(method, f"/blobs/{self.user}/{path}", body, self._headers)

    def receive(self) -> bytes:
        """Wait for the answer."""
        response = self._connection.getresponse()
        body = response.read()
        assert response.status == 200, (response.status, body)
        return body

    def ask(self, path: str, method: str = "GET", body: bytes | None = None) -> bytes:
        """Send a request, and wait for the answer."""
        self.send(method, path, body)
        return self.receive()

    def last_cursor(self) -> str:
        """Read the feed to its end."""
        page = {"cursor": "start", "more": True}
        while page["more"]:
            page = json.loads(self.ask(f"?changes={page['cursor']}&limit=10000"))
        return str(page["cursor"])


def milliseconds(client: Client, path: str) -> float:
    """Give the median of some requests."""
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        client.ask(path)
        times.append(time.perf_counter() - began)
    return median(times) * 1000


def measure_requests(client: Client, number: int) -> None:
    """Print what a question takes, beside one about a blob that is there."""
    before = client.last_cursor()
    client.ask("new", "PUT", b"x" * 800)
    after = client.last_cursor()
    bare = milliseconds(client, "new?only_flags=True")
    nothing = milliseconds(client, f"?changes={after}")
    one = milliseconds(client, f"?changes={before}")
    print(
        f"{number:,} blobs: nothing new {nothing:.2f} ms, one new blob {one:.2f} ms "
        f"(a bare request {bare:.2f} ms)",
        flush=True,
    )


@contextmanager
def waiting_clients(port: int, tokens: TokenFile) -> Iterator[list[Client]]:
    """Have clients wait."""
    clients = []
    for number in range(WAITING // EACH):
        user = f"waiting-{number}"
        token = tokens.add(user)
        clients += [Client(port, user, token) for _ in range(EACH)]
    cursor = clients[0].last_cursor()
    for client in clients:
        client.send("GET", f"?changes={cursor}&wait=60")
    yield clients
    for client in clients:
        client.socket.close()


def resident(process: int) -> int:
    """Tell how many bytes of memory a process has."""
    with open(f"/proc/{process}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if "VmRSS" in line)


def measure_waiting(server: Server, tokens: TokenFile) -> None:
    """Print what those who wait cost, and when they are told of a change."""
    token = tokens.add("bystander")
    Client(server.port, "bystander", token).last_cursor()
    before = resident(server.process.pid)
    with waiting_clients(server.port, tokens) as clients:
        # Answered when all that came before has been.
        Client(server.port, "bystander", token).last_cursor()
        more = (resident(server.process.pid) - before) / 2**20
        used = server.cpu()
        time.sleep(QUIET)
        used = server.cpu() - used
        print(f"{WAITING:,} clients waiting: {more:.0f} MiB, {used:.2f} s of CPU in {QUIET:g} s")
        times = []
        for first in clients[::EACH][:20]:
            writer = Client(server.port, first.user, tokens.add(first.user))
            began = time.perf_counter()
            writer.ask("new", "PUT", b"x" * 800)
            put = time.perf_counter()
            first.receive()
            times.append((put - began, time.perf_counter() - put))
        print(
            f"a change: {median(it[0] for it in times) * 1000:.1f} ms until it is put, "
            f"{median(it[1] for it in times) * 1000:.1f} ms more until another client has it"
        )


async def main(number: int) -> None:
    """Run it in a folder that goes away."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    with tempfile.TemporaryDirectory(prefix="blobman-feed-", dir=".") as folder:
        data, tokens = os.path.join(folder, "data"), TokenFile(os.path.join(folder, "tokens"))
        await fill(data, "few", FEW)
        await fill(data, "many", number)
        server = Server(data, tokens, "few")
        try:
            for user, blobs in (("few", FEW), ("many", number)):
                measure_requests(Client(server.port, user, tokens.add(user)), blobs)
            measure_waiting(server, tokens)
        finally:
            server.stop()


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    react(lambda _: Deferred.fromCoroutine(main(count)))
