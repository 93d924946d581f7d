"""Asks an object store: requests are signed, and made again where that is safe."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.web.client import Agent

from .....clocks import steady_clock
from .....wire.endpoints import Endpoints
from .....wire.pool import Pool
from .....wire.tls import Trust
from ...interface import Asked, Observers
from .answers import OLD_CREDENTIALS, Answer, MaybeLaterError
from .bucket import Bucket, Query
from .exchange import Exchange
from .sending import Sending
from .signing import UNSIGNED, Signer

PATIENCE = 20.0
"""Seconds without any progress after which a request is given up."""

ATTEMPTS = 4
"""How often a request is made at most."""

FIRST_PAUSE = 0.2
"""Seconds that are waited at most before a request is made again; twice as many each time."""

LONGEST_PAUSE = 5
"""Seconds that a store may ask to wait; if it asks for more, whoever asked us has to wait."""

CONNECTIONS = 32
"""How many unused connections are kept."""

PIECE = 256 * 1024
"""Bytes that are written at a time."""

Jitter = Callable[[float], float]
"""Takes the most seconds to wait, and gives some: so that many don't come back in step."""


def half_or_more(seconds: float) -> float:
    """Give some time between half of it and all of it."""
    return random.uniform(seconds / 2, seconds)


class Request(NamedTuple):
    """
    What an object store is asked.

    :ivar operation: what it is for, such as ``put``; for figures.
    :ivar name: of the object, without the prefix; None for the bucket.
    """

    operation: str
    method: str
    name: str | None
    query: Query = ()
    headers: tuple[tuple[str, str], ...] = ()


class Client:
    """
    Asks an object store.

    :param patience: seconds without any progress after which a request is given up.
    :param signer: the one that goes by the ``AWS_*`` variables and files if None.
    :param jitter: says how long to wait before a request is made again.
    :param clock: that of the reactor if None.
    :ivar observers: called with each :class:`Asked`.
    :raise OSError: the bucket's file of authorities can't be read.
    :raise ValueError: there is no certificate in it.
    """

    def __init__(
        self,
        reactor: Any,
        bucket: Bucket,
        patience: float = PATIENCE,
        signer: Signer | None = None,
        jitter: Jitter = half_or_more,
        clock: IReactorTime | None = None,
    ) -> None:
        self.bucket = bucket
        self.observers: Observers = []
        self._patience = patience
        self._jitter = jitter
        self._clock = clock or steady_clock(reactor)
        self._signer = signer or Signer(reactor, bucket)
        self._pool = Pool(reactor)
        self._pool.maxPersistentPerHost = CONNECTIONS
        endpoints = Endpoints(reactor, Trust(bucket.ca))
        self._agent = Agent.usingEndpointFactory(reactor, endpoints, self._pool)

    def close(self) -> Deferred[None]:
        """
        Close the connections that are not in use.

        :return: fires when they are closed.
        """
        return self._pool.close_idle()

    def _digest_of(self, body: bytes | bytearray) -> str:
        # Over TLS nobody can change it.
        return UNSIGNED if self.bucket.is_private else hashlib.sha256(body).hexdigest()

    async def begin(
        self,
        request: Request,
        sending: Sending | None = None,
        digest: str | None = None,
        attempt: int = 1,
    ) -> Exchange:
        """
        Begin a request.

        :param sending: its content; None for none.
        :param digest: of that; see :meth:`.signing.Signer.sign`. None for that of no content.
        :return: the exchange. Raises ``UnavailableError`` if it can't be signed.
        """
        url = self.bucket.url(request.name, request.query)
        began = self._clock.seconds()

        def ended(status: int, sent: int, received: int) -> None:
            seconds = self._clock.seconds() - began
            asked = Asked(request.operation, seconds, status, attempt, sent, received)
            for observe in self.observers:
                observe(asked)

        signed = await self._signer.sign(
            request.method, url, dict(request.headers), digest or self._digest_of(b"")
        )
        return Exchange(
            self.bucket.host,
            self._agent.request(
                request.method.encode("ascii"), url.encode("ascii"), signed.headers, sending
            ),
            sending,
            signed.chunks,
            self._clock,
            self._patience,
            ended,
        )

    async def ask(
        self,
        request: Request,
        body: bytes | bytearray = b"",
        wanted: tuple[int, ...] = (),
        digest: str | None = None,
    ) -> Answer:
        """
        Make a request, and again if it fails in a way that may pass.

        :param body: its content.
        :param wanted: the statuses that are answers like those of success.
        :param digest: of the content, if that is large; see :meth:`.signing.Signer.sign`.
        :return: the answer. Raises ``UnavailableError``.
        """
        digest = digest or self._digest_of(body)
        attempt = 1
        while True:
            try:
                return await self._ask(request, body, digest, attempt, wanted)
            except MaybeLaterError as error:
                await self.pause_after(attempt, error)
            attempt += 1

    async def pause_after(self, attempt: int, error: MaybeLaterError) -> None:
        """
        Wait before another attempt. Raises the error if there should be none.

        :param attempt: the one that failed; 1 or more.
        """
        if attempt >= ATTEMPTS or error.pause > LONGEST_PAUSE:
            raise error
        pause = max(self._jitter(FIRST_PAUSE * 2**attempt), error.pause)
        await deferLater(self._clock, pause)

    async def _ask(
        self,
        request: Request,
        body: bytes | bytearray,
        digest: str,
        attempt: int,
        wanted: tuple[int, ...],
    ) -> Answer:
        sending = Sending(len(body)) if body else None
        exchange = await self.begin(request, sending, digest, attempt)
        for start in range(0, len(body), PIECE):
            await exchange.write(bytes(body[start : start + PIECE]))
        answer = await exchange.finish()
        # What a POST is for may take long: a store may begin to answer before it knows.
        is_refusal = answer.status >= 300 or (request.method == "POST" and answer.code)
        if answer.status in wanted or not is_refusal:
            return answer
        if answer.code in OLD_CREDENTIALS:
            self._signer.forget()
            raise MaybeLaterError(str(exchange.about(answer)))
        raise exchange.about(answer)
