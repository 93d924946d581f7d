"""
One sync that compares long lists and finds nothing to do.

``python -m benchmarks.comparison [NUMBER]`` fills a server's folder and a client's store with that
many blobs (100,000 if it is not said), the same ones, and prints what their comparison takes.
"""

from __future__ import annotations

import io
import os
import resource
import sys
import tempfile
import time
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from blobman import BlobManager
from blobman.server.accounts.tokens import TokenFile
from blobman.server.running.configuration import make_service

from .meter import PauseProbe

USER = "bench"
BATCH = 1000


def names(number: int) -> list[str]:
    """Make ids as applications do: their beginnings spread."""
    return [f"{index * 2654435761 % 2**32:08x}-{index}" for index in range(number)]


def fill_server(data: str, ids: list[str]) -> None:
    """Write files as the server keeps them."""
    for blob_id in ids:
        folder = os.path.join(data, USER, "default", blob_id[0], blob_id[:3], blob_id[:6])
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, blob_id), "wb") as file:
            file.write(b"x" * 800)


async def fill_store(manager: BlobManager, ids: list[str]) -> None:
    """Store blobs as if each had been uploaded."""
    store = manager.local
    assert store is not None
    for start in range(0, len(ids), BATCH):
        batch = ids[start : start + BATCH]
        await gatherResults([store.put(blob_id, io.BytesIO(b"x" * 47), 47) for blob_id in batch])
        await store.mark_uploaded(dict.fromkeys(batch), "")


def memory() -> float:
    """Peak memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def compare(reactor: Any, folder: str, number: int) -> None:
    """Fill both, and measure a sync."""
    ids, data, tokens = names(number), os.path.join(folder, "data"), os.path.join(folder, "tokens")
    fill_server(data, ids)
    token = TokenFile(tokens).add(USER)
    service = make_service(data, tokens, ["tcp:0:interface=127.0.0.1"], reactor)
    service.startService()
    (port,) = await service.when_listening()
    url = f"http://127.0.0.1:{port.getHost().port}/blobs/"  # type: ignore[attr-defined]
    manager = BlobManager(os.path.join(folder, "client"), url, "k", "s" * 96, USER, token)
    await fill_store(manager, ids)
    await manager.count()
    before, probe, started = memory(), PauseProbe(reactor), time.monotonic()
    await manager.sync()
    seconds = time.monotonic() - started
    probe.stop()
    pause = probe.longest * 1000
    print(f"{number} ids on the server and {number} here, compared by one sync:")
    print(f"  {seconds:.2f} s, {number / seconds:.0f} ids/s, longest pause {pause:.0f} ms")
    print(
        f"  peak memory {memory():.0f} MiB, client and server in one process ({before:.0f} before)"
    )
    print(f"  statuses: {await manager.sync_progress}")
    await manager.close()
    await service.stopService()


def main(reactor: Any, number: str = "100000") -> Deferred[None]:
    """Run it in a folder that goes away."""

    async def run() -> None:
        with tempfile.TemporaryDirectory(prefix="blobman-comparison-") as folder:
            await compare(reactor, folder, int(number))

    return Deferred.fromCoroutine(run())


if __name__ == "__main__":
    react(main, sys.argv[1:])
