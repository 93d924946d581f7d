"""``/blobs/``: list, what has changed, get, put, flag and delete; see ``docs/protocol.md``."""

from __future__ import annotations

import json
from dataclasses import replace

from ...protocol import ChangesQuery, ListQuery, is_true, read_flags, write_flags
from .answers import JSON_TYPE, answer
from .changes import Feed
from .download import send_blob
from .lists import send_list, send_namespaces
from .refusals import Refusal
from .request import BlobsRequest
from .upload import receive_blob
from .users import Handler, Target, UserResource

FLAGS_LIMIT = 4096
"""The most bytes of a body that sets flags."""


class BlobsResource(UserResource):
    """``/blobs/``."""

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
        changes = ChangesQuery.from_fields(target.fields)
        if changes is not None:
            feed = Feed(self._backend, target.user, target.namespace, changes)
            await feed.send(request, self._admission)
            return
        if is_true(target.fields.get("namespaces")):
            await send_namespaces(request, self._backend.namespaces(target.user))
            return
        query = replace(ListQuery.from_fields(target.fields), namespace=target.namespace)
        if query.only_count:
            count = await self._backend.count(target.user, query)
            await answer(request, 200, json.dumps({"count": count}).encode("ascii"), JSON_TYPE)
            return
        await send_list(request, self._backend.list(target.user, query))

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
