"""Places that need no token: ``/health``, and all that are not there."""

from __future__ import annotations

import math
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from ..storage.interface import AwayError, IBlobsBackend
from .answers import answer, answer_errors
from .refusals import Refusal
from .request import BlobsRequest

CHECK_EVERY = 1.0
"""Seconds for which it counts that blobs could be written, or not."""


class OpenResource(Resource):
    """A place that anybody can read."""

    isLeaf = True

    def render(self, request: Any) -> int:
        """Begin to answer."""
        Deferred.fromCoroutine(answer_errors(request, self._serve(request)))
        return NOT_DONE_YET

    async def _serve(self, request: BlobsRequest) -> None:
        if request.postpath not in ([], [b""]):
            raise Refusal(404, "no such place")
        content_type, text = await self.read(request.method)
        await answer(request, 200, text, content_type)

    async def read(self, method: bytes) -> tuple[str, bytes]:
        """
        Give what can be read here, with its content type.

        :raise Refusal: nothing can, or not so.
        """
        raise Refusal(404, "no such place")


def check_reading(method: bytes) -> None:
    """
    Look whether a method is one that reads.

    :raise Refusal: it is not.
    """
    if method not in (b"GET", b"HEAD"):
        raise Refusal(405, "no such method here", [("Allow", "GET, HEAD")])


class Root(Resource):
    """The root of a site: what is not put there is not there."""

    def __init__(self, **children: Resource) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        for name, child in children.items():
            self.putChild(name.encode("ascii"), child)

    def getChild(self, path: bytes, request: object) -> Resource:
        """Say that there is no such place."""
        return OpenResource()  # type: ignore[no-untyped-call]

    def render(self, request: Any) -> int:
        """Say so at the root itself."""
        return OpenResource().render(request)  # type: ignore[no-untyped-call]


class HealthResource(OpenResource):
    """
    Answers 200 if blobs can be read and written, 503 if not. What that takes does not depend on
    how many there are.

    :param backend: is asked about once a second.
    :param clock: an ``IReactorTime``.
    """

    _log = Logger()

    def __init__(self, backend: IBlobsBackend, clock: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._backend = backend
        self._clock = clock
        self._checking = DeferredLock()
        self._checked_at = -math.inf
        self._trouble: Exception | None = None

    async def read(self, method: bytes) -> tuple[str, bytes]:
        """
        Say that all is well.

        :raise Refusal: it is not.
        """
        check_reading(method)
        await self._checking.run(lambda: Deferred.fromCoroutine(self._check_writing()))
        if self._trouble is not None:
            raise Refusal(503, _describe(self._trouble)) from self._trouble
        return "", b"ok\n"

    async def _check_writing(self) -> None:
        if self._clock.seconds() < self._checked_at + CHECK_EVERY:
            return
        before, self._trouble = self._trouble, None
        try:
            await self._backend.check_writing()
        except Exception as error:
            self._trouble = error
            if before is None:
                self._log.error("No blobs can be written: {reason}", reason=str(error))
        self._checked_at = self._clock.seconds()


def _describe(trouble: Exception) -> str:
    """Say what is away; why, is for the log."""
    text = "no blobs can be written"
    return f"{text}: {' and '.join(trouble.parts)}" if isinstance(trouble, AwayError) else text
