"""What some work costs the process that does it."""

from __future__ import annotations

import resource
import threading
import time
from contextlib import suppress
from typing import Any

from .figures import Cost

PROBE_INTERVAL = 0.002
"""Seconds between two looks at the clock: a pause is what it takes longer than that."""


class PauseProbe:
    """
    Looks at the clock all the time, in the reactor.

    :ivar longest: the seconds of the longest pause, in which the reactor did something else.
    """

    def __init__(self, reactor: Any) -> None:
        self.longest = 0.0
        self._reactor = reactor
        self._looked = time.perf_counter()
        self._call = reactor.callLater(PROBE_INTERVAL, self._look)

    def _look(self) -> None:
        self._note()
        self._call = self._reactor.callLater(PROBE_INTERVAL, self._look)

    def _note(self) -> None:
        now = time.perf_counter()
        self.longest = max(self.longest, now - self._looked - PROBE_INTERVAL)
        self._looked = now

    def stop(self) -> None:
        self._call.cancel()
        self._note()


class Bystander:
    """
    Does nothing in a thread, and notes how long that takes: what no program can help.

    Used as a context, in a process that only waits meanwhile.

    :ivar longest: the seconds of the longest time in which it was not let run, though it wanted to.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._stand_by)

    def _stand_by(self) -> None:
        looked = time.perf_counter()
        while not self._is_over.wait(PROBE_INTERVAL):
            now = time.perf_counter()
            self.longest = max(self.longest, now - looked - PROBE_INTERVAL)
            looked = now

    def __enter__(self) -> Bystander:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()


class Meter:
    """Measures the process that it is made in, which is idle at that time."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._idle = memory("VmRSS")

    def begin(self) -> None:
        """Begin to measure."""
        _forget_peak()
        self._probe = PauseProbe(self._reactor)
        self._cpu = time.process_time()
        self._began = time.perf_counter()

    def end(self) -> Cost:
        """Tell what it has cost."""
        seconds = time.perf_counter() - self._began
        cpu = time.process_time() - self._cpu
        self._probe.stop()
        peak = max(0, memory("VmHWM") - self._idle)
        return Cost(seconds, peak, cpu, self._probe.longest)


def memory(field: str) -> int:
    """Read a field of the kernel's; where there is none, give the peak of the process's life."""
    with suppress(FileNotFoundError), open("/proc/self/status") as status:
        for line in status:
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _forget_peak() -> None:
    with suppress(OSError), open("/proc/self/clear_refs", "w") as clear:
        clear.write("5")
