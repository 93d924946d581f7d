"""
What belongs to users.

Each request is taken through the same steps: who is asking (401), is it their own (403), is
there such a method (405), are the names names (400). Then one method of a resource does it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from ...model import is_name
from ...protocol import DEFAULT_NAMESPACE, ProtocolError, Query, read_authorization
from ..accounts.admission import Admission
from ..accounts.interface import IAccounts
from ..storage.interface import BlobName, IBlobsBackend
from .answers import answer_errors
from .refusals import Refusal
from .request import BlobsRequest

Handler = Callable[[BlobsRequest, "Target"], Awaitable[None]]
"""Answers a request that has been let in."""


@dataclass(frozen=True)
class Target:
    """
    What a request is about.

    :ivar user: whose blobs; has been let in.
    :ivar parts: the rest of the path, taken apart.
    :ivar fields: the query fields.
    """

    user: str
    parts: list[str]
    fields: Query

    @property
    def namespace(self) -> str:
        """
        The namespace, by the name that it has on the server.

        :raise ProtocolError: it is not a name.
        """
        namespace = self.fields.get("namespace") or DEFAULT_NAMESPACE
        if not is_name(namespace):
            raise ProtocolError("the namespace is not a name")
        return namespace

    def blob(self, blob_id: str) -> BlobName:
        """
        Name a blob of this user.

        :raise ProtocolError: the id is not a name.
        """
        if not is_name(blob_id):
            raise ProtocolError("the blob's id is not a name")
        return BlobName(self.user, self.namespace, blob_id)


class UserResource(Resource):
    """
    What belongs to users, under ``{user}/...``: lets them in, and answers all errors.

    :param accounts: knows the tokens.
    :param admission: limits what one user can have under way.
    :param backend: where the blobs are.
    """

    isLeaf = True

    def __init__(self, accounts: IAccounts, admission: Admission, backend: IBlobsBackend) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._accounts = accounts
        self._admission = admission
        self._backend = backend

    def render(self, request: Any) -> int:
        """Begin to answer."""
        Deferred.fromCoroutine(answer_errors(request, self._admit_and_handle(request)))
        return NOT_DONE_YET

    async def _admit_and_handle(self, request: BlobsRequest) -> None:
        user = request.log.user = await self._log_in(request)
        with self._admission.entered(user):
            await self._handle(request, user)

    async def _handle(self, request: BlobsRequest, user: str) -> None:
        parts = _read_path(request)
        if not self.may_act_for(user, parts[0]):
            raise Refusal(403, "this is another user's")
        handlers = self.handlers(parts[1:])
        method = request.method.decode("ascii", "replace")
        handler = handlers.get("GET" if method == "HEAD" else method)
        if handler is None:
            raise Refusal(405, "no such method here", [("Allow", _allowed(handlers))])
        await handler(request, Target(parts[0], parts[1:], _read_fields(request)))

    async def _log_in(self, request: BlobsRequest) -> str:
        with suppress(ProtocolError):
            header = request.single_header("Authorization") or ""
            user, token = read_authorization(header.encode("ascii"))
            if await self._accounts.check(user, token):
                return user
        challenge = [("WWW-Authenticate", 'Token realm="blobs"')]
        raise Refusal(401, "a valid token is needed", challenge)

    def may_act_for(self, caller: str, user: str) -> bool:
        """Whether a caller that has been let in may touch what belongs to a user."""
        return caller == user

    def handlers(self, parts: list[str]) -> dict[str, Handler]:
        """
        Give what can be done at a path, by method.

        :param parts: the path after the user.
        :raise Refusal: there is no such path.
        """
        raise NotImplementedError


def _read_path(request: BlobsRequest) -> list[str]:
    try:
        parts = [part.decode("ascii") for part in request.postpath or []]
    except UnicodeDecodeError as error:
        raise ProtocolError("the path is not ASCII") from error
    if not parts or not parts[0]:
        raise Refusal(404, "no such place")
    if not is_name(parts[0]):
        raise ProtocolError("the user is not a name")
    return parts


def _read_fields(request: BlobsRequest) -> Query:
    try:
        return {
            name.decode("utf-8"): values[0].decode("utf-8")
            for name, values in (request.args or {}).items()
        }
    except UnicodeDecodeError as error:
        raise ProtocolError("the query is not UTF-8") from error


def _allowed(handlers: dict[str, Handler]) -> str:
    names = set(handlers) | ({"HEAD"} if "GET" in handlers else set())
    return ", ".join(sorted(names))
