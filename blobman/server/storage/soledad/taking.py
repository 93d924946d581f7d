"""What is taken over, counted and told: :class:`Taking`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Protocol

from twisted.logger import Logger

from ..catalogue.filling import Filling, Kept
from .files import Odd
from .tree import Tombstone

PROGRESS_EVERY = 10_000
"""After how many blobs and tombstones it is told how far it has come."""


@dataclass
class Report:
    """
    What has been taken over.

    :ivar blobs: how many blobs.
    :ivar size: bytes of them, sealed as they are.
    :ivar from_journal: how many of them get into the catalogue, from the journal.
    :ivar flagged: how many of them have flags.
    :ivar deleted: how many tombstones.
    :ivar quotas: how many quotas, the default one among them.
    :ivar odd: how many things are left where they are.
    """

    blobs: int = 0
    size: int = 0
    from_journal: int = 0
    flagged: int = 0
    deleted: int = 0
    quotas: int = 0
    odd: int = 0


class Listener(Protocol):
    """Is told what goes on, in the thread that does it."""

    def progress(self, report: Report) -> None:
        """Hear, now and then, how far it has come."""

    def ended(self, report: Report) -> None:
        """Hear that this is all."""

    def odd(self, odd: Odd) -> None:
        """Hear of something that is left where it is."""


class LogListener:
    """
    Writes what it is told to the log.

    :param root: the data folder.
    """

    _log = Logger()

    def __init__(self, root: str) -> None:
        self._root = root

    def progress(self, report: Report) -> None:
        """Log it; see :class:`Listener`."""
        self._log.info(
            "Taking over {root}: {blobs} blobs and {deleted} tombstones so far",
            root=self._root,
            **asdict(report),
        )

    def ended(self, report: Report) -> None:
        """Log it; see :class:`Listener`."""
        self._log.info(
            "Taking over {root}: {blobs} blobs of {size} bytes, {deleted} tombstones, and "
            "{quotas} quotas in all; {odd} odd things stay where they are",
            root=self._root,
            **asdict(report),
        )

    def odd(self, odd: Odd) -> None:
        """Log it; see :class:`Listener`."""
        self._log.warn(
            "Taking over {root}: left {path} where it is: {why}",
            root=self._root,
            **odd._asdict(),
        )


class Taking:
    """
    Takes one thing after another.

    :param filling: fills the catalogue.
    :ivar filling: the same.
    :param report: what is counted in.
    """

    def __init__(self, filling: Filling, report: Report, listener: Listener) -> None:
        self.filling = filling
        self._report = report
        self._listener = listener

    def blob(self, blob: Kept) -> None:
        """Take a blob."""
        self.filling.add_blob(blob)
        self._report.blobs += 1
        self._report.size += blob.size
        self._report.from_journal += blob.key is None
        self._report.flagged += bool(blob.flags)
        self._step()

    def tombstone(self, tombstone: Tombstone) -> None:
        """Take a tombstone."""
        self.filling.add_tombstone(*tombstone)
        self._report.deleted += 1
        self._step()

    def quota(self, user: str | None, size: int | None) -> None:
        """Take a quota; the default one if there is no user."""
        self.filling.set_quota(user, size)
        self._report.quotas += 1

    def odd(self, odd: Odd) -> None:
        """Leave something where it is."""
        self._report.odd += 1
        self._listener.odd(odd)

    def finish(self) -> None:
        """End. Tombstones of ids that are used again have gone."""
        self._report.deleted = self.filling.finish()
        if self._report != Report():
            self._listener.ended(self._report)

    def _step(self) -> None:
        if (self._report.blobs + self._report.deleted) % PROGRESS_EVERY == 0:
            self._listener.progress(self._report)
