"""How transfers get on: a bar on a terminal, lines elsewhere, events for programs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from zope.interface import implementer

from blobman import ITransferObserver, TransferProgress

from .screen import Screen
from .text import in_namespace, size_text

BAR_INTERVAL = 0.25
"""Seconds between two pictures of the bar."""

ROOM = 3
"""Columns that are left free, so that what a terminal shows for Ctrl-C does not begin a line."""

LINE_INTERVAL = 10.0
"""Seconds between two lines about the same transfers."""

_DONE = {"upload": "sent", "download": "fetched"}


@contextmanager
def showing_progress(
    clock: IReactorTime, screen: Screen, by_blob: bool = False
) -> Iterator[ITransferObserver | None]:
    """
    Show transfers while the block lasts, in the way that the screen asks for.

    :param by_blob: where lines are shown, one for each blob that has been transferred.
    :return: what has to be told of them; None if nobody cares.
    """
    if screen.quiet:
        yield None
    elif screen.as_json:
        yield Events(screen)
    else:
        display = Bar(clock, screen) if screen.has_terminal else Lines(clock, screen, by_blob)
        with display.ticking():
            yield display


@implementer(ITransferObserver)
class Events:
    """Tells programs of every change, as one JSON object in a line."""

    def __init__(self, screen: Screen) -> None:
        """
        Nothing is shown yet.

        :param screen: where events go.
        """
        self._screen = screen

    def transfer_changed(self, transfer: TransferProgress) -> None:
        """See :class:`ITransferObserver`."""
        fields: dict[str, Any] = transfer._asdict()
        self._screen.event("transfer", id=fields.pop("blob_id"), **fields)


class _Display:
    """Adds transfers up, and shows the sums now and then."""

    def __init__(self, clock: IReactorTime, screen: Screen, interval: float) -> None:
        self.screen = screen
        self.tally = screen.tally
        self.clock = clock
        self._interval = interval

    @contextmanager
    def ticking(self) -> Iterator[None]:
        """Show them while the block lasts."""
        loop = LoopingCall(lambda: self.show(self.clock.seconds()))
        loop.clock = self.clock
        loop.start(self._interval, now=False)
        try:
            yield
        finally:
            loop.stop()
            self.end()

    def show(self, now: float) -> None:
        raise NotImplementedError

    def end(self) -> None:
        """Leave nothing behind."""

    def transfer_changed(self, transfer: TransferProgress) -> None:
        """See :class:`ITransferObserver`."""
        self.tally.note(transfer, self.clock.seconds())


@implementer(ITransferObserver)
class Bar(_Display):
    """One line at the bottom of a terminal for all transfers; gone when there are none."""

    def __init__(self, clock: IReactorTime, screen: Screen) -> None:
        """Nothing is shown yet."""
        super().__init__(clock, screen, BAR_INTERVAL)

    def show(self, now: float) -> None:
        """Draw it."""
        columns = self.screen.columns - ROOM
        self.screen.draw(self.tally.bar(now, columns) if self.tally.is_running else "")

    def end(self) -> None:
        """Take it away."""
        self.screen.draw("")


@implementer(ITransferObserver)
class Lines(_Display):
    """A line now and then while transfers last, and for each blob if that is wanted."""

    def __init__(self, clock: IReactorTime, screen: Screen, by_blob: bool) -> None:
        """Nothing is shown yet."""
        super().__init__(clock, screen, LINE_INTERVAL)
        self._by_blob = by_blob

    def show(self, now: float) -> None:
        """Write it."""
        if self.tally.is_running:
            self.screen.remark(self.tally.words(now))

    def transfer_changed(self, transfer: TransferProgress) -> None:
        """See :class:`ITransferObserver`."""
        super().transfer_changed(transfer)
        if self._by_blob and transfer.state == "done" and transfer.total:
            what = f"{_DONE[transfer.direction]} {transfer.blob_id}"
            place = in_namespace(transfer.namespace)
            self.screen.remark(f"{what}, {size_text(transfer.total)}{place}")
