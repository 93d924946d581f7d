"""Small blobs that travel together: those that wait when a permit comes go with one request."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from enum import Enum
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from ..errors import BlobError, describe
from .permits import Permits
from .queue import Group
from .transfer import Transfer


class Outcome(Enum):
    """
    What became of a blob that went along.

    ``DONE``: it has been transferred. ``ALONE``: it needs a request of its own. ``AGAIN``: the
    request ended before its turn came.
    """

    DONE = "done"
    ALONE = "alone"
    AGAIN = "again"


class Bundle:
    """
    One request, and those that go along with it.

    :ivar namespace: the namespace of all of them.
    :ivar work: makes the request; None if it is over.
    """

    def __init__(self, action: str, namespace: str, transfers: list[Transfer]) -> None:
        self.namespace = namespace
        self.work: Deferred[None] | None = None
        self._action = action
        self._aboard = {transfer.key.blob_id: transfer for transfer in transfers}

    @property
    def aboard(self) -> list[Transfer]:
        """Those of which nothing is known yet."""
        return list(self._aboard.values())

    def what(self, blob_id: str) -> str:
        """Say how an error about a blob begins."""
        return f"{self._action} {describe(blob_id, self.namespace)}"

    def get(self, blob_id: str) -> Transfer | None:
        """Give a transfer, unless it has arrived, or nobody waits for it any more."""
        transfer = self._aboard.get(blob_id)
        return None if transfer is None or transfer.cancelled else transfer

    def arrive(self, blob_id: str, outcome: Outcome | BaseException) -> None:
        """Say what became of one, unless nobody waits for it any more."""
        transfer = self.get(blob_id)
        if transfer is not None and transfer.arrived is not None:
            del self._aboard[blob_id]
            transfer.arrived(transfer, outcome)

    def leave(self, _: Transfer) -> None:
        """Go no further if nobody waits any more. Until it is over, each may still get there."""
        if self.work is not None and all(it.cancelled for it in self._aboard.values()):
            self.work.cancel()


Carry = Callable[[Bundle], Coroutine[Deferred[Any], Any, None]]
"""
Makes one request for some blobs of a namespace, and lets each arrive. Those that have not when it
returns are to try again (alone, if none has); if it fails, they fail with it.
"""

Arrived = Callable[[Transfer, "Outcome | BaseException"], object]
"""Told that a transfer is ``DONE``, or has to go ``ALONE``, or has failed. Takes it over."""


class Bundles:
    """Transfers that go along with others of their namespace, the most urgent first."""

    def __init__(self, permits: Permits, carry: Carry, limit: int, action: str) -> None:
        """
        Nobody waits.

        :param limit: how many blobs go along with one request at most.
        :param action: what is done with a blob, for errors: ``get`` or ``put``.
        """
        self._permits = permits
        self._carry = carry
        self._limit = limit
        self._action = action
        self._groups: dict[str, Group] = {}

    def add(self, transfer: Transfer, arrived: Arrived) -> None:
        """
        Have a transfer go along with requests until one has room.

        :param arrived: told what became of it; ``CancelledError`` if it is cancelled.
        """
        namespace = transfer.key.namespace
        group = self._groups.get(namespace)
        if group is None:
            group = self._groups[namespace] = Group(self._limit, partial(self._depart, namespace))
        transfer.arrived, transfer.stop = arrived, self._give_up
        self._permits.add(transfer, group)

    def _give_up(self, transfer: Transfer) -> None:
        self._permits.remove(transfer)
        assert transfer.arrived is not None
        transfer.arrived(transfer, CancelledError())

    def _depart(self, namespace: str, transfers: list[Transfer]) -> None:
        bundle = Bundle(self._action, namespace, transfers)
        for transfer in transfers:
            transfer.stop = bundle.leave
        work = Deferred.fromCoroutine(self._travel(bundle, len(transfers)))
        if not work.called:
            bundle.work = work

    async def _travel(self, bundle: Bundle, count: int) -> None:
        outcome: Outcome | BaseException = Outcome.AGAIN
        try:
            await self._carry(bundle)
            if len(bundle.aboard) == count:
                outcome = Outcome.ALONE
        except (Exception, CancelledError) as error:
            outcome = error
        bundle.work = None
        # Those that go on are there when the permit is granted to who is next.
        with self._permits.held_back():
            for transfer in bundle.aboard:
                self._go_on(transfer, outcome, bundle.what(transfer.key.blob_id))
            self._permits.release(self._groups[bundle.namespace])

    def _go_on(self, transfer: Transfer, outcome: Outcome | BaseException, what: str) -> None:
        arrived = transfer.arrived
        assert arrived is not None
        if transfer.cancelled:
            arrived(transfer, CancelledError())
        elif outcome is Outcome.AGAIN:
            self.add(transfer, arrived)
        else:
            arrived(transfer, outcome.about(what) if isinstance(outcome, BlobError) else outcome)
