"""Who is told how transfers get on."""

from __future__ import annotations

from collections.abc import Callable

from zope.interface import Interface

from ..model import TransferProgress

Progress = Callable[[int, int], object]
"""Told of the sealed bytes that have travelled, and of their number in all (0 if not known)."""


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""


class ITransferObserver(Interface):
    """What an application is told about transfers, to show their progress."""

    def transfer_changed(transfer: TransferProgress) -> None:
        """
        A transfer has a new state, or has moved on. Called in the reactor's thread, at most
        about ten times a second for one blob. It may cancel that transfer. What it raises is
        logged and goes no further.
        """
