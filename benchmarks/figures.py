"""What was measured."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any, NamedTuple

from .floor import Floor
from .workloads import Workload

STEPS = ("put", "sync", "get")


class Cost(NamedTuple):
    """
    What some work cost a process.

    :ivar seconds: how long it took.
    :ivar memory: the most that it had above what it has when idle, in bytes.
    :ivar cpu: seconds of all its threads.
    :ivar pause: seconds of the reactor's longest pause.
    """

    seconds: float
    memory: float
    cpu: float
    pause: float


class Figures(NamedTuple):
    """
    A step of a workload.

    :ivar floor: what its bare work took.
    :ivar stall: the longest time, in seconds, in which a process that does nothing was not let run.
    :ivar peer: the seconds that rclone took; None if that was not measured.
    """

    workload: Workload
    tls: bool
    step: str
    client: Cost
    server: Cost
    floor: Floor
    stall: float
    peer: float | None = None

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.client.seconds

    @property
    def bytes_per_second(self) -> float:
        """How fast bytes went."""
        return self.workload.total / self.seconds

    @property
    def blobs_per_second(self) -> float:
        """How fast blobs went."""
        return self.workload.number / self.seconds

    @property
    def of_floor(self) -> float:
        """The speed, where that of the bare work is 1."""
        return self.floor.seconds / self.seconds

    @property
    def of_requests(self) -> float | None:
        """The speed, where that of the bare requests alone is 1; None if there are none."""
        return None if self.floor.requests is None else self.floor.requests / self.seconds

    @property
    def of_peer(self) -> float | None:
        """The speed, where that of rclone is 1; None if it was not measured."""
        return None if self.peer is None else self.peer / self.seconds

    def as_json(self) -> dict[str, Any]:
        """All of it, with plain types."""
        return {
            "workload": self.workload.name,
            "count": self.workload.number,
            "size": self.workload.size,
            "tls": self.tls,
            "step": self.step,
            "seconds": self.seconds,
            "bytes_per_second": self.bytes_per_second,
            "blobs_per_second": self.blobs_per_second,
            "floor": self.floor._asdict(),
            "of_floor": self.of_floor,
            "of_requests": self.of_requests,
            "rclone_seconds": self.peer,
            "client": self.client._asdict(),
            "server": self.server._asdict(),
            "stall": self.stall,
        }


def middle(runs: Sequence[Figures]) -> Figures:
    """Take the median of each figure of the same step."""
    first = runs[0]
    peers = [run.peer for run in runs if run.peer is not None]
    return first._replace(
        client=_middle_cost([run.client for run in runs]),
        server=_middle_cost([run.server for run in runs]),
        floor=_middle_floor([run.floor for run in runs]),
        stall=median(run.stall for run in runs),
        peer=median(peers) if peers else None,
    )


def _middle_cost(costs: Sequence[Cost]) -> Cost:
    return Cost(*(median(values) for values in zip(*costs, strict=True)))


def _middle_floor(floors: Sequence[Floor]) -> Floor:
    requests = [floor.requests for floor in floors if floor.requests is not None]
    return Floor(median(floor.files for floor in floors), median(requests) if requests else None)
