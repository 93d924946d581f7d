"""``/health``, for whoever watches the server."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from ..protocol import DEFAULT_NAMESPACE, ListQuery
from .answers import Refusal, answer, refuse
from .body import ClientGoneError
from .request import BlobsRequest
from .storage import IBlobsBackend

_NOBODY = "health"


class HealthResource(Resource):
    """
    Answers 200 if the backend answers, 503 if it does not.

    :param backend: is asked something that costs nothing.
    """

    isLeaf = True

    def __init__(self, backend: IBlobsBackend) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._backend = backend

    def render_GET(self, request: Any) -> int:
        """Begin to answer."""
        Deferred.fromCoroutine(self._answer(request))
        return NOT_DONE_YET

    render_HEAD = render_GET

    async def _answer(self, request: BlobsRequest) -> None:
        try:
            try:
                await self._backend.count(_NOBODY, ListQuery(namespace=DEFAULT_NAMESPACE))
            except Exception:
                await refuse(request, Refusal(503, "the blobs can't be reached"))
            else:
                await answer(request, 200, b"ok\n")
        except ClientGoneError:
            pass
