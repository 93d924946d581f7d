"""
What it costs to follow a server's changes: ``python -m benchmarks --changes``.

All with one server: managers whose stores have more and more blobs find that nothing is new, in
turn; one of them follows, while another one puts; one with an empty store learns of all there is.
Then the server is restored from a backup. A second server has very many clients that wait.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from .calls import Worker
from .figures import Cost
from .targets import HOUR, MIB, MS, Figure, Measured, Point, of_points, write_figures, write_points
from .waiting import Waiting

COUNTS = (1000, 10_000, 100_000, 1_000_000)
"""How many blobs there are."""

ROUNDS, TIMES = 10, 20
"""How often each manager has its turn, and how often it synchronizes then."""

FULL = 5
"""How often everything is compared; once where that takes long."""

LONG = 1_000_000
"""Blobs whose comparison takes long."""

FOLLOWED = 100_000
"""With how many blobs at most a manager follows."""

PUTS = 50
"""How many blobs another one puts meanwhile."""

Say = Callable[[str], object]


class Changes:
    """
    Measures in a folder.

    :param folder: all data go there.
    :param counts: how many blobs there are, from few to many.
    :param waiting: measures clients that wait.
    :param say: is told what is being done.
    """

    def __init__(self, folder: Path, counts: Sequence[int], waiting: Waiting, say: Say) -> None:
        self._folder = folder
        self._counts = counts
        self._waiting = waiting
        self._say = say

    def measure(self) -> Measured:
        """Measure everything; each part is told when it has been measured."""
        data, backup = self._folder / "data", self._folder / "backup"
        data.mkdir()
        with ExitStack() as stack:
            with Worker("server") as server:
                self._fill(server, data)
                # No server has run on it yet, so that each of the two has a history of its own.
                shutil.copytree(data, backup)
                address = server.call("start", str(data), None)
                managers = [self._open(stack, address, count) for count in self._counts]
                points = self._measure_nothing_new(server, managers)
                figures = of_points(points)
                figures += self._measure_following(stack, server, address, managers)
            figures += self._told(self._measure_restored(backup, managers[-1]))
        return Measured(points, figures)

    def _told(self, figures: list[Figure]) -> list[Figure]:
        self._say(write_figures(figures))
        return figures

    def _measure_following(
        self,
        stack: ExitStack,
        server: Worker,
        address: dict[str, Any],
        managers: Sequence[Worker],
    ) -> list[Figure]:
        few = [it for it in self._counts if it <= FOLLOWED] or self._counts[:1]
        count, follower = few[-1], managers[len(few) - 1]
        figures = self._told(self._measure_news(stack, address, follower, count))
        began, used = time.monotonic(), follower.call("cpu")
        figures += self._told(self._measure_first(stack, server, address))
        figures += self._told(self._waiting.measure())
        # It has followed all the while, and nothing came.
        figures += self._told([_of_idle(count, follower, began, used)])
        follower.call("close")
        return figures

    def _fill(self, server: Worker, data: Path) -> None:
        users = [_user(count) for count in self._counts]
        self._tokens = server.call("add_users", str(data), users)
        for count in self._counts:
            self._say(f"{count:,} blobs: filling the server")
            server.call("fill", str(data), _user(count), count)

    def _arguments(self, address: dict[str, Any], count: int, store: str) -> dict[str, Any]:
        user = _user(count)
        path = str(self._folder / f"{store}-{count}")
        return {**address, "user": user, "token": self._tokens[user], "local_path": path}

    def _open(self, stack: ExitStack, address: dict[str, Any], count: int) -> Worker:
        manager = stack.enter_context(Worker("follower"))
        manager.call("open", self._arguments(address, count, "full"))
        self._say(f"{count:,} blobs: filling a store")
        manager.call("fill", count)
        manager.call("sync", 1)
        return manager

    # -- a sync that finds nothing -----------------------------------------------------

    def _measure_nothing_new(self, server: Worker, managers: Sequence[Worker]) -> list[Point]:
        bare: list[list[float]] = [[] for _ in managers]
        nothing: list[list[float]] = [[] for _ in managers]
        used: list[list[float]] = [[] for _ in managers]
        for number in range(ROUNDS):
            self._say(f"nothing new: {number + 1} of {ROUNDS}")
            for index, manager in enumerate(managers):
                bare[index] += manager.call("ask", TIMES)
                before = server.call("cpu")
                nothing[index] += manager.call("sync", TIMES)
                used[index].append((server.call("cpu") - before) / TIMES)
        points = []
        for index, (count, manager) in enumerate(zip(self._counts, managers, strict=True)):
            self._say(f"{count:,} blobs: comparing all")
            full = manager.call("sync", 1 if count >= LONG else FULL, True)
            medians = map(median, (bare[index], nothing[index], full, used[index]))
            points.append(Point(count, *medians, *manager.call("traffic")))
        self._say(write_points(points))
        return points

    # -- something new -----------------------------------------------------------------

    def _measure_news(
        self, stack: ExitStack, address: dict[str, Any], follower: Worker, count: int
    ) -> list[Figure]:
        self._say(f"{count:,} blobs: following")
        other = stack.enter_context(Worker("follower"))
        other.call("open", self._arguments(address, count, "other"))
        follower.call("follow")
        # The first connections are made, and what is new is told, before it counts.
        other.call("put", "first")
        follower.call("arrival")
        known, arrived = [], []
        for number in range(PUTS):
            put = other.call("put", f"new-{number}")
            times = follower.call("arrival")
            # A follower may be told before the one who put it.
            known.append(max(0.0, times[0] - put))
            arrived.append(max(0.0, times[1] - put))
        other.call("close")
        what = f"a new blob, beside {count:,}"
        return [
            Figure(f"{what}: known to a follower", median(known) * MS, "ms", 50),
            Figure(f"{what}: arrived there", median(arrived) * MS, "ms", 100),
        ]

    # -- all is new --------------------------------------------------------------------

    def _measure_first(
        self, stack: ExitStack, server: Worker, address: dict[str, Any]
    ) -> list[Figure]:
        figures = []
        for count in self._counts[-2:]:
            self._say(f"{count:,} blobs: a first sync")
            manager = stack.enter_context(Worker("follower"))
            manager.call("open", self._arguments(address, count, "empty"))
            for it in (server, manager):
                it.call("begin")
            known = manager.call("refresh")
            costs = [Cost(*it.call("end")) for it in (manager, server)]
            if known < count:
                raise RuntimeError(f"only {known} of {count} are known")
            manager.call("close")
            figures += _of_costs(f"{count:,} ids are learnt from an empty store", costs)
        return figures

    def _measure_restored(self, backup: Path, manager: Worker) -> list[Figure]:
        count = self._counts[-1]
        self._say(f"{count:,} blobs: the server is restored from a backup")
        if count > FOLLOWED:
            manager.call("close")
        with Worker("server") as server:
            address = server.call("start", str(backup), None)
            manager.call("open", self._arguments(address, count, "full"))
            for it in (server, manager):
                it.call("begin")
            manager.call("sync", 1)
            costs = [Cost(*it.call("end")) for it in (manager, server)]
            manager.call("close")
        return _of_costs(f"{count:,} ids are compared after 410", costs)


def _user(count: int) -> str:
    return f"has-{count}"


def _of_costs(what: str, costs: Sequence[Cost]) -> list[Figure]:
    client, server = costs
    return [
        Figure(f"{what}: time", client.seconds, "s"),
        Figure(f"{what}: the client's memory above idle", client.memory / MIB, "MiB"),
        Figure(f"{what}: the server's memory above idle", server.memory / MIB, "MiB"),
    ]


def _of_idle(count: int, follower: Worker, began: float, used: float) -> Figure:
    """Tell what following has cost while nothing came."""
    share = (follower.call("cpu") - used) / (time.monotonic() - began)
    what = f"following with {count:,} blobs, nothing new: CPU in an hour"
    return Figure(what, share * HOUR, "s", 1)
