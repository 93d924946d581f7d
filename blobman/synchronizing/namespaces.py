"""All namespaces of a user: which there are, and something done in each of them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from contextlib import AbstractContextManager
from typing import Any

from twisted.internet.defer import Deferred

from ..errors import BlobError
from ..interfaces import IBlobStore, IRemote
from ..model import Priority
from ..results import SyncResult, add_up, with_result
from ..transfers.operations import together
from ..transfers.requests import Requests
from ..transfers.retry import ends_run


async def find_namespaces(
    store: IBlobStore | None, remote: IRemote | None, requests: Requests
) -> set[str]:
    """
    Find the namespaces that have blobs on the server, or anything recorded here.

    :param store: None if there is none here.
    :param remote: None if there is no server. One that can't tell has none that is not known here.
    :raise BlobError: as asking the server, or the store, does.
    """
    found: set[str] = set()
    if remote is not None:
        there: dict[str, int] | None = await requests.make(Priority.HIGH, remote.namespaces)
        found.update(there or ())
    if store is not None:
        found.update(await store.list_namespaces())
    return found


async def sync_each(
    namespaces: Iterable[str],
    sync: Callable[[str], Coroutine[Deferred[Any], Any, SyncResult]],
    hold_back: Callable[[], AbstractContextManager[None]],
) -> SyncResult:
    """
    Synchronize some namespaces, all at the same time.

    :param sync: synchronizes one. Each of its errors has a result.
    :param hold_back: see :func:`.together`.
    :return: what has been done in all of them.
    :raise BlobError: the first error, with the result of all of them, when the others have ended;
        at once, and with its own result, if they would meet it, too.
    """

    async def sync_one(namespace: str) -> tuple[SyncResult, BlobError | None]:
        try:
            return await sync(namespace), None
        except BlobError as error:
            if ends_run(error):
                raise
            return error.result, error

    ends = await together([sync_one(namespace) for namespace in namespaces], hold_back)
    total = add_up(result for result, _ in ends)
    for _, error in ends:
        if error is not None:
            raise with_result(error, total) from error.__cause__
    return total
