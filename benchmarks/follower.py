"""A manager that synchronizes and follows, in a process that is told when."""

from __future__ import annotations

import io
import time
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, DeferredQueue, gatherResults
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from zope.interface import implementer

from blobman import BlobChange, BlobDoc, BlobManager, ITransferObserver, TransferProgress
from blobman.cli.garbage import collect_rarely
from blobman.protocol import write_authorization
from tests.proxy import Proxy

from .bare import Dropping
from .calls import answer_calls
from .comparison import BATCH, names
from .meter import Meter
from .server import PAYLOAD, TAG


async def _seconds(times: int, work: Callable[[], Awaitable[Any]]) -> list[float]:
    found = []
    for _ in range(times):
        began = time.perf_counter()
        await work()
        found.append(time.perf_counter() - began)
    return found


class _Bare:
    """A bare client of Twisted's, which keeps its connection."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        user = arguments["user"]
        self._agent = Agent(reactor, pool=HTTPConnectionPool(reactor))
        self._headers = Headers({"Authorization": [write_authorization(user, arguments["token"])]})
        blob_id = names(1)[0]
        self._url = f"{arguments['remote']}{user}/{blob_id}?only_flags=True".encode()

    async def ask(self) -> None:
        """Ask for the flags of a blob."""
        response = await self._agent.request(b"GET", self._url, self._headers)
        answer = Dropping()
        response.deliverBody(answer)
        await answer.ended
        assert response.code == 200, response.code


@implementer(ITransferObserver)
class Follower:
    """A manager, and what it does."""

    def __init__(self) -> None:
        self._known: dict[str, float] = {}
        self._arrived: DeferredQueue[tuple[str, float]] = DeferredQueue()

    async def open(self, arguments: dict[str, Any]) -> None:
        """
        Make the manager.

        :param arguments: those that are not the same in all.
        """
        collect_rarely()
        self._arguments = arguments
        self._bare = _Bare(arguments)
        self._manager = self._make(arguments["remote"])
        self._meter = Meter(reactor)

    def _make(self, remote: str) -> BlobManager:
        arguments = {**self._arguments, "remote": remote}
        return BlobManager(key="key", secret="s" * 96, observer=self, **arguments)

    async def close(self) -> None:
        """End what it does, and close it."""
        await self._manager.close()

    async def fill(self, number: int) -> None:
        """Store as many blobs as the server has, as if each had been uploaded."""
        store, ids = self._manager.local, names(number)
        assert store is not None
        for start in range(0, number, BATCH):
            some = ids[start : start + BATCH]
            size = len(PAYLOAD)
            await gatherResults([store.put(it, io.BytesIO(PAYLOAD), size) for it in some])
            await store.mark_uploaded(dict.fromkeys(some, TAG), "")

    # What is measured

    def begin(self) -> None:
        """Begin to measure memory."""
        self._meter.begin()

    def end(self) -> tuple[float, ...]:
        """Tell what has been measured."""
        return self._meter.end()

    def cpu(self) -> float:
        """Tell how many seconds of CPU have been used."""
        return time.process_time()

    async def sync(self, times: int, full: bool = False) -> list[float]:
        """Synchronize so many times; give the seconds of each."""
        return await _seconds(times, lambda: self._manager.sync(full=full))

    async def ask(self, times: int) -> list[float]:
        """Make so many bare requests of the server; give the seconds of each."""
        return await _seconds(times, self._bare.ask)

    async def refresh(self) -> int:
        """Learn all that the server has; give the number of blobs that are to be fetched."""
        await self._manager.refresh_sync_status_from_server()
        return (await self._manager.sync_progress).get("PENDING_DOWNLOAD", 0)

    async def traffic(self) -> list[int]:
        """Synchronize; give the bytes that went to the server, and came from it."""
        await self._manager.close()
        host, port = self._arguments["remote"].split("/")[2].split(":")
        proxy = Proxy(int(port))
        await proxy.start()
        self._manager = self._make(f"http://{host}:{proxy.port}/blobs/")
        await self._manager.sync()
        counted = [
            sum(side.total for side in proxy.sides if side.upward is upward)
            for upward in (True, False)
        ]
        await self._manager.close()
        await proxy.stop()
        self._manager = self._make(self._arguments["remote"])
        return counted

    async def put(self, blob_id: str) -> float:
        """Put a blob; give the time at which that was done."""
        await self._manager.put(BlobDoc(io.BytesIO(PAYLOAD), blob_id), len(PAYLOAD))
        return time.monotonic()

    def follow(self) -> None:
        """Follow the server from now on."""
        self._manager.follow(on_change=self._changed).addErrback(lambda it: it.trap(CancelledError))

    async def arrival(self) -> tuple[float, float]:
        """Wait for a blob; give the times at which it was known, and at which it was here."""
        blob_id, here = await self._arrived.get()
        return self._known.pop(blob_id), here

    def transfer_changed(self, transfer: TransferProgress) -> None:
        """Note when the first download of a blob begins: then it is known."""
        self._known.setdefault(transfer.blob_id, time.monotonic())

    def _changed(self, change: BlobChange) -> None:
        self._arrived.put((change.blob_id, time.monotonic()))


if __name__ == "__main__":
    answer_calls(Follower())
