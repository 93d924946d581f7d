"""A manager, in a process that is told to do a step of a workload."""

from __future__ import annotations

import fcntl
import os
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, BinaryIO

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Cooperator
from twisted.internet.threads import deferToThread

from blobman import BlobDoc, BlobManager
from blobman.cli.garbage import collect_rarely

from .calls import answer_calls
from .figures import Cost
from .meter import Meter
from .workloads import USER

TURN = 0.003
"""Seconds for which many things are begun before the reactor gets its turn."""

AT_ONCE = 10
"""How many are begun before it is looked how long that has taken."""

AT_MOST_OPEN = 1000
"""How many files are open at once, unless there are more blobs."""

PIECE = 1 << 20
"""Bytes that are read at a time; a blob that has no more is read in the reactor's thread."""


class _Turn:
    """Ends after a few milliseconds."""

    def __init__(self) -> None:
        self._end = time.monotonic() + TURN

    def __call__(self) -> bool:
        return time.monotonic() > self._end


COOPERATOR = Cooperator(_Turn)


class Client:
    """
    Does one step, and tells what it cost.

    Each takes the folder of the files that blobs are made of, their size, and the arguments of its
    manager, besides those that are the same in all.
    """

    def __init__(self) -> None:
        # Files that are to be put are open all at once.
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    def get_ready(self) -> None:
        """Be idle."""
        collect_rarely()
        # The kernel makes room for more open files in steps, and has all threads wait for each.
        os.close(fcntl.fcntl(0, fcntl.F_DUPFD, AT_MOST_OPEN))
        self._meter = Meter(reactor)

    async def put(self, folder: str, size: int, arguments: dict[str, Any]) -> Cost:
        """Put all files of a folder."""
        return await self._measure(arguments, lambda manager: _put_all(manager, folder, size))

    async def sync(self, folder: str, size: int, arguments: dict[str, Any]) -> Cost:
        """Bring them all here."""
        return await self._measure(arguments, lambda manager: manager.sync())

    async def get(self, folder: str, size: int, arguments: dict[str, Any]) -> Cost:
        """Read them from the local store."""
        return await self._measure(arguments, lambda manager: _get_all(manager, folder))

    async def _measure(
        self, arguments: dict[str, Any], work: Callable[[BlobManager], Deferred[Any]]
    ) -> Cost:
        manager = BlobManager(key="key", secret="s" * 96, user=USER, **arguments)
        self._meter.begin()
        await work(manager)
        cost = self._meter.end()
        await manager.close()
        return cost


def _gather(begun: Iterable[Deferred[Any]]) -> Deferred[Any]:
    """Begin many things, without keeping the reactor from all else meanwhile; wait for all."""
    deferreds: list[Deferred[Any]] = []

    def begin_some() -> Iterator[None]:
        rest = iter(begun)
        while some := list(islice(rest, AT_ONCE)):
            deferreds.extend(some)
            yield

    # Waiting for one after another takes one callback each, when its turn comes.
    async def wait_for_all() -> None:
        await COOPERATOR.cooperate(begin_some()).whenDone()
        for deferred in deferreds:
            await deferred

    return Deferred.fromCoroutine(wait_for_all())


def _put_all(manager: BlobManager, folder: str, size: int) -> Deferred[Any]:
    return _gather(_put(manager, entry, size) for entry in os.scandir(folder))


def _put(manager: BlobManager, entry: os.DirEntry[str], size: int) -> Deferred[None]:
    file = open(entry.path, "rb", buffering=0)  # noqa: SIM115
    return manager.put(BlobDoc(file, entry.name), size).addBoth(_closing, file)


def _closing(result: Any, file: BinaryIO) -> Any:
    file.close()
    return result


def _get_all(manager: BlobManager, folder: str) -> Deferred[Any]:
    return _gather(manager.get(name).addCallback(_read) for name in os.listdir(folder))


def _read(blob: Any) -> Deferred[None] | None:
    if blob.size <= PIECE:
        _read_to_the_end(blob)
        return None
    return deferToThread(_read_to_the_end, blob)


def _read_to_the_end(blob: BinaryIO) -> None:
    with blob:
        while blob.read(PIECE):
            pass


if __name__ == "__main__":
    answer_calls(Client())
