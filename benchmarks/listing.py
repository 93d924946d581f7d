"""
Long lists, as a server tells them.

``python -m benchmarks.listing [NUMBER]`` fills a server's folder with that many names of one user
(200,000 if it is not said; nine of ten are blobs, every hundredth of these is flagged, and the rest
are tombstones), starts a server on it, and prints how long it takes to answer lists and counts,
each of them five times, and ``/health`` meanwhile.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import tempfile
import threading
import time

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from blobman.model import Flags
from blobman.protocol import write_authorization
from blobman.server.accounts.tokens import TokenFile
from blobman.server.storage.backends import folder_backend
from blobman.server.storage.interface import BlobName

from .comparison import USER, names

RUNS = 5
LISTS = {
    "list": "",
    "list by date": "order_by=date",
    "list by flag": "filter_flag=PENDING",
    "list of deleted": "deleted=True",
    "count": "only_count=True",
}


async def fill(data: str, ids: list[str]) -> None:
    """Have a backend keep them."""
    backend = folder_backend(data)
    await backend.open()
    for start in range(0, len(ids), 1000):
        names = [BlobName(USER, "default", it) for it in ids[start : start + 1000]]
        await backend.store([(name, b"x" * 800) for name in names])
        for name in names[::100]:
            await backend.set_flags(name, [Flags.PENDING])
        await gatherResults([backend.delete(name) for name in names[9::10]])
    await backend.close()


class Server:
    """
    A server in a process of its own, and requests of one user to it.

    :ivar headers: what each request needs.
    :ivar port: where it listens.
    """

    def __init__(self, data: str, tokens: TokenFile, user: str) -> None:
        self.headers = {"Authorization": write_authorization(user, tokens.add(user))}
        command = [sys.executable, "-m", "blobman", "serve", "--data", data]
        command += ["--tokens", tokens.path, "--listen", "tcp:0:interface=127.0.0.1"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().rpartition(":")[2])

    def ask(self, path: str, method: str = "GET", body: bytes | None = None) -> float:
        """
        Ask; give the seconds until the whole answer was there.

        :raise OSError: there was none.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        started = time.monotonic()
        connection.request(method, path, body, self.headers)
        response = connection.getresponse()
        response.read()
        seconds = time.monotonic() - started
        connection.close()
        assert response.status == 200, response.status
        return seconds

    def memory(self) -> int:
        """Tell the most bytes of memory that it has had."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if "VmHWM" in line)

    def cpu(self) -> float:
        """Tell the seconds that it has used the processor for."""
        with open(f"/proc/{self.process.pid}/stat") as status:
            user, system = status.read().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """Stop it."""
        self.process.terminate()
        self.process.wait()


def measure(server: Server) -> None:
    """Ask for everything, and print how long it takes."""
    for what, query in LISTS.items():
        seconds = sorted(server.ask(f"/blobs/{USER}/?{query}") for _ in range(RUNS))
        print(f"{what}: {seconds[0]:.2f} to {seconds[-1]:.2f} s")
    is_over = threading.Event()

    def ask_for_lists() -> None:
        for _ in range(RUNS):
            server.ask(f"/blobs/{USER}/")
        is_over.set()

    thread = threading.Thread(target=ask_for_lists)
    thread.start()
    seconds = []
    while not is_over.is_set():
        seconds.append(server.ask("/health"))
        time.sleep(0.005)
    thread.join()
    seconds.sort()
    half, most = seconds[len(seconds) // 2] * 1000, seconds[-1] * 1000
    print(f"/health beside lists: {half:.0f} ms, at most {most:.0f} ms")


async def main(number: int) -> None:
    """Run it in a folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="blobman-listing-") as folder:
        data = os.path.join(folder, "data")
        await fill(data, names(number))
        started = time.monotonic()
        server = Server(data, TokenFile(os.path.join(folder, "tokens")), USER)
        print(f"started: {time.monotonic() - started:.2f} s")
        try:
            measure(server)
        finally:
            server.stop()


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    react(lambda _: Deferred.fromCoroutine(main(count)))
