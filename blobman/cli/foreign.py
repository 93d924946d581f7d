"""Noticing early that this machine has another secret than those that sealed what is there."""

from __future__ import annotations

from blobman import (
    BlobManager,
    ExternalBlobError,
    MaximumRetriesError,
    RetriableTransferError,
    WrongKeyError,
)

TRIED = 3
"""How many blobs are fetched before the secret is blamed: one of them can be damaged."""


async def check_secret(manager: BlobManager, namespace: str) -> int:
    """
    Fetch some blobs of the server, if none is here yet, before all are fetched for nothing.

    :return: how many are here now that were not: 1, or 0 if there was nothing to fetch.
    :raise WrongKeyError: none of these can be opened. They are left as they were.
    :raise BlobError: the store or the server can't do it, for a reason that will not pass.
    """
    assert manager.local is not None
    if await manager.local_list(namespace):
        return 0
    failures: dict[str, MaximumRetriesError] = {}
    try:
        tried = (await manager.remote_list(namespace))[:TRIED]
        for blob_id in tried:
            failure = await _try(manager, blob_id, namespace)
            if failure is None:
                return 1
            failures[blob_id] = failure
            # It is as if nobody had asked for it: the sync that follows, or a later one, will.
            await manager.local.forget(blob_id, namespace)
    except RetriableTransferError:
        # Those who wait for the server, and try again, will see.
        return 0
    are_sealed = not any(isinstance(it.__cause__, ExternalBlobError) for it in failures.values())
    if failures and are_sealed and len(failures) == len(tried):
        raise WrongKeyError(
            "what is on the server was sealed with another secret than the one of this machine: "
            "blobman init --recover takes the recovery code of the keys that sealed it"
        ) from failures[tried[0]]
    return 0


async def _try(manager: BlobManager, blob_id: str, namespace: str) -> MaximumRetriesError | None:
    try:
        (await manager.get(blob_id, namespace)).close()
    except MaximumRetriesError as error:
        return error
    return None
