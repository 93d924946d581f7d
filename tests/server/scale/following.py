"""Who follows the changes of a namespace, whatever becomes of the servers."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from urllib.parse import urlencode

from twisted.internet import reactor
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.task import deferLater
from twisted.web.client import RequestTransmissionFailed, ResponseFailed

from blobman.model import FIRST_CURSOR, RemoteChange
from blobman.protocol import ChangesQuery, read_page

from ..storage.hands import HTTPHands, RefusedError

AWAY = (ConnectError, ConnectionClosed, RequestTransmissionFailed, ResponseFailed)
"""What a request fails with that does not reach a server, or loses it."""


def is_passing(error: Exception) -> bool:
    """Whether a request may fail with this while something is away."""
    is_refused = isinstance(error, RefusedError) and error.args[0].startswith("503 ")
    return is_refused or isinstance(error, AWAY)


async def outcome(asking: Awaitable[object]) -> Exception | None:
    """
    Wait for the answer to a request.

    :return: what it failed with, if that passes.
    :raise Exception: it failed for another reason.
    """
    try:
        await asking
    except Exception as error:
        if not is_passing(error):
            raise
        return error
    return None


class Follower:
    """
    Asks one server after another for what is new, and remembers it.

    :param hands: those of clients of each server.
    :ivar known: what it knows of each blob.
    """

    def __init__(self, hands: Sequence[HTTPHands], user: str, namespace: str) -> None:
        self.known: dict[str, RemoteChange] = {}
        self.user = user
        self.namespace = namespace
        self._hands = hands
        self._cursor = FIRST_CURSOR
        self._turn = 0
        self._is_over = False

    async def follow(self) -> None:
        """Do so until :meth:`stop`."""
        self._is_over = False
        while not self._is_over:
            if await outcome(self.ask(wait=1)) is not None:
                await deferLater(reactor, 0.1)

    def stop(self) -> None:
        """Have it ask no more."""
        self._is_over = True

    async def ask(self, wait: int = 0) -> bool:
        """
        Ask the next server once.

        :return: whether there is more.
        """
        self._turn += 1
        hands = self._hands[self._turn % len(self._hands)]
        query = ChangesQuery(self._cursor, self.namespace, wait=wait)
        fields = urlencode({name: value for name, value in query.fields().items() if value})
        page = read_page(await hands.ask("GET", self.user, f"blobs/{self.user}/?{fields}"), query)
        self.known |= {it.blob_id: it for it in page.changes}
        self._cursor = page.cursor
        return page.more
