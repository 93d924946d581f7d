"""
``/blobs/``: list, get, put, flag and delete; see ``docs/protocol.md``.

Each request is taken through the same steps: who is asking (401), is it their own (403), is
there such a method (405), are the names names (400). Then one method of a resource does it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted.cred.error import LoginFailed
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from ...model import is_name
from ...protocol import (
    DEFAULT_NAMESPACE,
    ListQuery,
    ProtocolError,
    Query,
    is_true,
    read_authorization,
    read_flags,
    write_flags,
)
from ..accounts.tokens import IAccount, TokenCredentials
from ..storage import BlobName, IBlobsBackend
from .answers import JSON_TYPE, Refusal, answer, refusal_for, refuse
from .body import ClientGoneError
from .download import send_blob
from .limits import Admission
from .upload import receive_blob

if TYPE_CHECKING:
    from .request import BlobsRequest

FLAGS_LIMIT = 4096
"""The most bytes of a body that sets flags."""

Handler = Callable[["BlobsRequest", "Target"], Awaitable[None]]


class Target:
    """
    What a request is about.

    :ivar user: whose blobs; has been let in.
    :ivar parts: the rest of the path, taken apart.
    :ivar fields: the query fields.
    """

    def __init__(self, user: str, parts: list[str], fields: Query) -> None:
        self.user = user
        self.parts = parts
        self.fields = fields

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

    :param portal: knows the tokens.
    :param admission: limits what one user can have under way.
    """

    isLeaf = True

    def __init__(self, portal: Portal, admission: Admission) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._portal = portal
        self._admission = admission

    def render(self, request: Any) -> int:
        """Begin to answer."""
        Deferred.fromCoroutine(self._serve(request))
        return NOT_DONE_YET

    async def _serve(self, request: BlobsRequest) -> None:
        try:
            try:
                await self._admit_and_handle(request)
            except ClientGoneError:
                raise
            except Exception as error:
                await refuse(request, refusal_for(error))
        except ClientGoneError:
            pass

    async def _admit_and_handle(self, request: BlobsRequest) -> None:
        user = request.account = await self._log_in(request)
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
        try:
            header = request.single_header("Authorization") or ""
            credentials = TokenCredentials(*read_authorization(header.encode("ascii")))
            _, avatar, _ = await self._portal.login(credentials, None, IAccount)
        except (ProtocolError, LoginFailed):
            challenge = [("WWW-Authenticate", 'Token realm="blobs"')]
            raise Refusal(401, "a valid token is needed", challenge) from None
        return IAccount(avatar).user

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


class BlobsResource(UserResource):
    """
    ``/blobs/``.

    :param backend: where the blobs are.
    """

    def __init__(self, portal: Portal, admission: Admission, backend: IBlobsBackend) -> None:
        super().__init__(portal, admission)
        self._backend = backend

    def handlers(self, parts: list[str]) -> dict[str, Handler]:
        """Tell a list from a blob."""
        if parts in ([], [""]):
            return {"GET": self._list}
        if len(parts) == 1:
            return {
                "GET": self._get,
                "PUT": self._put,
                "POST": self._set_flags,
                "DELETE": self._delete,
            }
        raise Refusal(404, "no such place")

    async def _list(self, request: BlobsRequest, target: Target) -> None:
        query = replace(ListQuery.from_fields(target.fields), namespace=target.namespace)
        if query.only_count:
            count = await self._backend.count(target.user, query)
            await answer(request, 200, json.dumps({"count": count}).encode("ascii"), JSON_TYPE)
            return
        body = write_list(await self._backend.list(target.user, query))
        with self._admission.holding(target.user) as hold:
            hold(len(body))
            await answer(request, 200, body, JSON_TYPE)

    async def _get(self, request: BlobsRequest, target: Target) -> None:
        name = target.blob(target.parts[0])
        if is_true(target.fields.get("only_flags")):
            flags = await self._backend.get_flags(name)
            await answer(request, 200, write_flags(flags), JSON_TYPE)
        else:
            await send_blob(request, await self._backend.read(name))

    async def _put(self, request: BlobsRequest, target: Target) -> None:
        await receive_blob(request, self._backend, target.blob(target.parts[0]))
        await answer(request, 200)

    async def _set_flags(self, request: BlobsRequest, target: Target) -> None:
        name = target.blob(target.parts[0])
        flags = read_flags(await request.body.read_all(FLAGS_LIMIT))
        await self._backend.set_flags(name, flags)
        await answer(request, 200)

    async def _delete(self, request: BlobsRequest, target: Target) -> None:
        await self._backend.delete(target.blob(target.parts[0]))
        await answer(request, 200)


def write_list(ids: Sequence[str]) -> bytes:
    """Write a list, which may be very long, as JSON."""
    # Ids have no character that JSON would escape.
    return ('["' + '", "'.join(ids) + '"]').encode("ascii") if ids else b"[]"


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
