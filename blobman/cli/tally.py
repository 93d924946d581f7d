"""What the transfers of a command add up to: bytes, rate and the time that is left."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from blobman import TransferProgress

from .text import clock_text, size_text

WINDOW = 10.0
"""Seconds over which the rate is taken; after as long without transfers, the sums begin anew."""

NARROWEST = 8
"""Columns; a bar that has fewer is left out."""

SEALED_OVERHEAD = 753
"""How many bytes longer than its content a blob is when it travels."""


class Tally:
    """Adds up transfers. It is told the time, in seconds, with everything it is asked or told."""

    def __init__(self) -> None:
        """No transfer is known."""
        self._transfers: dict[tuple[str, str, str], TransferProgress] = {}
        self._running: set[tuple[str, str, str]] = set()
        self._moved = 0
        self._samples: deque[tuple[float, int]] = deque()
        self._idle_since = 0.0
        self._size = 0
        self._blobs: int | None = None

    @property
    def is_running(self) -> bool:
        """Whether there are transfers that have not ended."""
        return bool(self._running)

    def expect(self, sizes: Iterable[int]) -> None:
        """
        Take in which transfers there will be, each of them once.

        :param sizes: the sizes of their contents in bytes.
        """
        self._size = sum(size + SEALED_OVERHEAD for size in sizes)

    def expect_more(self, blobs: int) -> None:
        """Take in how many transfers are left, of which only some are known; 0 for no idea."""
        ended = sum(it.state == "done" for it in self._transfers.values())
        self._blobs = ended + blobs if blobs else 0

    def note(self, transfer: TransferProgress, now: float) -> None:
        """Take in how a transfer stands."""
        if not self._size and not self._running and now - self._idle_since >= WINDOW:
            self._transfers.clear()
            self._samples.clear()
        key = transfer.direction, transfer.namespace, transfer.blob_id
        before = self._transfers.get(key)
        if transfer.state == "running":
            self._running.add(key)
        else:
            self._running.discard(key)
            self._idle_since = now
        if transfer.state in ("failed", "cancelled"):
            self._transfers.pop(key, None)
            self._size = max(0, self._size - transfer.total)
        else:
            self._transfers[key] = transfer
        # Another attempt begins at 0 again: that is not to be counted backwards.
        self._moved += max(0, transfer.done - (before.done if before else 0))
        self._sample(now)

    def _sample(self, now: float) -> None:
        while len(self._samples) > 1 and now - self._samples[1][0] >= WINDOW:
            self._samples.popleft()
        if not self._samples or now > self._samples[-1][0]:
            self._samples.append((now, self._moved))

    def rate(self, now: float) -> float:
        """Give bytes in a second, lately."""
        self._sample(now)
        start, moved = self._samples[0]
        return (self._moved - moved) / (now - start) if now > start else 0.0

    def words(self, now: float) -> str:
        """
        Say it: ``12.3 MB of 50.0 MB, 3.2 MB/s, 0:12 left, 3 under way``.

        While the sum is not known: ``3 of 41 blobs, 12.3 MB, 3.2 MB/s, 3 under way``.
        """
        moving = [self._transfers[key] for key in self._running if self._transfers[key].total]
        if not moving:
            return "waiting for the server"
        done, total, rate = *self._sums(), self.rate(now)
        parts = [f"{size_text(done)} of {size_text(total)}" if total else size_text(done)]
        if self._blobs and not total:
            ended = sum(it.state == "done" for it in self._transfers.values())
            parts.insert(0, f"{ended} of {max(self._blobs, ended + len(moving))} blobs")
        parts.append(f"{size_text(rate)}/s")
        if total and rate:
            parts.append(f"{clock_text((total - done) / rate)} left")
        return ", ".join([*parts, f"{len(moving)} under way"])

    def bar(self, now: float, columns: int) -> str:
        """Say it behind a bar, in so many columns at most."""
        words = self.words(now)
        done, total = self._sums()
        width = columns - len(words) - len("[] 100% ")
        if not total or width < NARROWEST:
            return words[:columns]
        part = min(1.0, done / total)
        filled = int(part * width)
        return f"[{'#' * filled}{'.' * (width - filled)}] {int(part * 100):3}% {words}"

    def _sums(self) -> tuple[int, int]:
        """Give the bytes done, and those in all; 0 as long as they are not known."""
        known = self._transfers.values()
        done, total = sum(it.done for it in known), sum(max(it.total, it.done) for it in known)
        if self._blobs is not None:
            begun = sum(it.state == "done" or it.total > 0 for it in known)
            return done, total if self._blobs and begun >= self._blobs else 0
        return done, max(total, self._size)
