"""Very many clients wait at one server, and others work there."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from .calls import Worker
from .data import make_files
from .figures import Cost
from .targets import HOUR, MIB, MS, Figure
from .workloads import USER, Workload

CLIENTS, EACH = 2000, 5
"""How many clients wait, and how many of them each user has."""

CHANGES = 100
"""How many changes are told to those who wait, while nobody works."""

QUIET = 10.0
"""Seconds for which nothing changes, if nothing else is said."""

RUNS = 3
"""How often a workload is done; the medians count."""

Say = Callable[[str], object]


class _Work(NamedTuple):
    """The seconds that a workload takes."""

    put: float
    sync: float


class Waiting:
    """
    Measures clients that wait, at a server of their own.

    :param folder: all data go there.
    :param clients: how many.
    :param workload: what a user does meanwhile for whom five of them wait.
    :param quiet: seconds for which nothing changes.
    :param say: is told what is being done.
    """

    def __init__(
        self, folder: Path, clients: int, workload: Workload, quiet: float, say: Say
    ) -> None:
        self._folder = folder / "waiting"
        self._folder.mkdir()
        self._clients = clients
        self._workload = workload
        self._quiet = quiet
        self._say = say

    def measure(self) -> list[Figure]:
        """Measure everything."""
        with Worker("server") as server, Worker("crowd") as crowd, Worker("client") as client:
            address = server.call("start", str(self._folder), None)
            others = [f"waiting-{number}" for number in range(1, self._clients // EACH)]
            tokens = server.call("add_users", str(self._folder), others)
            self._say(f"{self._workload}, while nobody waits")
            alone = self._work(client, address, "alone")
            self._say(f"{self._clients:,} clients wait")
            tokens = {USER: address["token"], **tokens}
            figures = self._measure_quiet(server, crowd, address["remote"], tokens)
            self._say(f"{self._workload}, while {self._clients:,} clients wait")
            crowd.call("begin_changes")
            beside = self._work(client, address, "beside")
            told = crowd.call("end_changes")
            self._check(crowd.call("heard", USER))
        return figures + self._of_work(alone, beside, told)

    def _measure_quiet(
        self, server: Worker, crowd: Worker, url: str, tokens: dict[str, str]
    ) -> list[Figure]:
        before = server.call("memory")
        crowd.call("wait", url, tokens, EACH, USER)
        memory = server.call("memory") - before
        used = server.call("cpu")
        time.sleep(self._quiet)
        share = (server.call("cpu") - used) / self._quiet
        told = crowd.call("change", CHANGES)
        what = f"{self._clients:,} clients wait"
        return [
            Figure(f"{what}: more memory in the server", memory / MIB, "MiB", 64),
            Figure(
                f"{what}: the server's CPU in an hour of nothing", share * HOUR, "s", HOUR / 100
            ),
            Figure(f"{what}: a change is known to five, after it was put", median(told) * MS, "ms"),
        ]

    def _work(self, client: Worker, address: dict[str, Any], name: str) -> _Work:
        client.call("get_ready")
        runs = [self._run(client, address, f"{name}-{number}") for number in range(RUNS)]
        return _Work(*(median(seconds) for seconds in zip(*runs, strict=True)))

    def _run(self, client: Worker, address: dict[str, Any], name: str) -> _Work:
        files = self._folder / f"{name}-files"
        make_files(files, self._workload)
        seconds = []
        for step in _Work._fields:
            manager = {**address, "local_path": str(self._folder / f"{name}-{step}")}
            cost = Cost(*client.call(step, str(files), self._workload.size, manager))
            seconds.append(cost.seconds)
        return _Work(*seconds)

    def _check(self, heard: Sequence[int]) -> None:
        """See to it that those who wait for what the workload puts have heard of all of it."""
        number = RUNS * self._workload.number
        if min(heard) < number:
            raise RuntimeError(f"{heard} changes were heard of {number}")

    def _of_work(self, alone: _Work, beside: _Work, told: Sequence[float]) -> list[Figure]:
        what = f"{self._workload.name}, while {self._clients:,} clients wait"
        return [
            Figure(f"{what}: put", beside.put / alone.put, "times as long as alone"),
            Figure(f"{what}: sync", beside.sync / alone.sync, "times as long as alone"),
            Figure(f"{what}: a change is known to five of them", median(told) * MS, "ms"),
        ]
