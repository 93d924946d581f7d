"""Every step of the workloads, and the floor and the peer next to it, in one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.certificates import Authority

from . import floor, rclone
from .calls import Worker
from .data import make_files
from .figures import STEPS, Cost, Figures, middle
from .floor import Floor
from .memory import make_ready
from .meter import Bystander
from .trash import Trash
from .workloads import Workload

STORES = {"put": "laptop", "sync": "desktop", "get": "desktop"}
"""In which store each step works."""

COPIES = {"put": 2, "sync": 1, "get": 0}
"""How often each step writes all bytes to the disk."""

Say = Callable[[str], object]


class Bench:
    """
    Measures workloads in a folder.

    :param folder: all data go there.
    :param runs: how often everything is done; the medians count.
    :param peer: the program rclone, if it is to be measured too.
    :param say: is told what is being done.
    """

    def __init__(self, folder: Path, runs: int, peer: str | None, say: Say) -> None:
        self._folder = folder
        self._runs = runs
        self._peer = peer
        self._say = say
        self._trash = Trash(folder / "trash")
        authority = Authority("blobman benchmarks")
        self._ca_file = authority.write(str(folder / "ca.pem"))
        self._pem = str(folder / "server.pem")
        authority.issue(self._pem)

    def measure(self, workload: Workload, transports: list[bool]) -> Iterator[list[Figures]]:
        """
        Measure a workload.

        :param transports: false for TCP, true for TLS.
        :return: for each of them, the figures of all steps.
        """
        files = self._folder / "files"
        self._say(f"{workload}: writing files")
        make_files(files, workload)
        for tls in transports:
            runs = []
            for number in range(1, self._runs + 1):
                self._say(f"{workload}, {'TLS' if tls else 'TCP'}: {number} of {self._runs}")
                runs.append(self._run(workload, files, tls))
            yield [middle(same_step) for same_step in zip(*runs, strict=True)]
        self._trash.throw(files)

    def _run(self, workload: Workload, files: Path, tls: bool) -> list[Figures]:
        floors = self._floors(workload, files, tls)
        costs = self._costs(workload, files, tls)
        peers = self._peers(workload, files, tls)
        return [
            Figures(workload, tls, step, client, server, floors[step], stall, peers.get(step))
            for step, (client, server, stall) in costs.items()
        ]

    def _floors(self, workload: Workload, files: Path, tls: bool) -> dict[str, Floor]:
        with Worker("bare") as server, Worker("bare") as client:
            url = server.call("listen", self._pem if tls else None)
            client.call("connect", url, self._ca_file)
            floors = {}
            for step in STEPS:
                make_ready(self._folder, COPIES[step] * workload.total)
                floors[step] = floor.measure(step, client, files, workload, self._trash)
            return floors

    def _costs(
        self, workload: Workload, files: Path, tls: bool
    ) -> dict[str, tuple[Cost, Cost, float]]:
        folder = self._folder / "blobman"
        folder.mkdir()
        with ExitStack() as stack:
            server = stack.enter_context(Worker("server"))
            clients = {step: stack.enter_context(Worker("client")) for step in STEPS}
            arguments = server.call("start", str(folder), self._pem if tls else None)
            arguments["cert_file"] = self._ca_file if tls else None
            stores = {step: str(folder / store) for step, store in STORES.items()}
            for client in clients.values():
                client.call("get_ready")
            costs = {}
            for step, client in clients.items():
                make_ready(self._folder, COPIES[step] * workload.total)
                manager = {**arguments, "local_path": stores[step]}
                costs[step] = _cost(server, client, step, files, workload.size, manager)
        self._trash.throw(folder)
        return costs

    def _peers(self, workload: Workload, files: Path, tls: bool) -> dict[str, float]:
        if self._peer is None:
            return {}
        folder = self._folder / "rclone"
        folder.mkdir()
        # It writes them once, up and down; there is no coming in between the two.
        make_ready(self._folder, 2 * workload.total)
        seconds = rclone.measure(
            self._peer, folder, files, (self._pem, self._ca_file) if tls else None
        )
        self._trash.throw(folder)
        return seconds


def _cost(
    server: Worker,
    client: Worker,
    step: str,
    files: Path,
    size: int,
    manager: dict[str, Any],
) -> tuple[Cost, Cost, float]:
    server.call("begin")
    with Bystander() as bystander:
        done = client.call(step, str(files), size, manager)
    return Cost(*done), Cost(*server.call("end")), bystander.longest
