"""Which answer is which error."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import (
    BlobAlreadyExistsError,
    BlobError,
    BlobNotFoundError,
    InvalidFlagsError,
    QuotaExceededError,
    RetriableTransferError,
    ServerError,
    UnauthorizedError,
    describe,
)
from .headers import read_retry_after

RETRIABLE_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
"""Answers that may be another one next time."""

_Failure = Callable[[str], BlobError]

_FAILURES: dict[int, tuple[str, _Failure]] = {
    401: ("the server does not accept the token", UnauthorizedError),
    403: ("the server does not allow this user that", UnauthorizedError),
    404: ("the server does not have it", BlobNotFoundError),
    406: ("the server does not know such a flag", InvalidFlagsError),
    409: ("the server has one of that name already", BlobAlreadyExistsError),
    507: ("the space on the server is used up", QuotaExceededError),
}


def answer_error(
    status: int, action: str, blob_id: str, namespace: str, retry_after: str | None = None
) -> BlobError:
    """
    Say which error an answer is.

    :param status: an HTTP status that is not a success.
    :param action: what was asked, to begin the message with ("put", "get").
    :param blob_id: the blob that it was about; empty if it was about none.
    :param retry_after: the header of that name.
    """
    what = f"{action} {describe(blob_id, namespace)}" if blob_id else action
    if status == 404 and not blob_id:
        # Nothing that the server has under its address is missing: the address is wrong.
        return BlobNotFoundError(
            f"{what}: there is nothing at that URL (404); check it: the server's blobs are at "
            "one such as https://host/blobs/"
        )
    if status in _FAILURES:
        reason, make = _FAILURES[status]
        return make(f"{what}: {reason} ({status})")
    if status in RETRIABLE_STATUSES:
        error: BlobError = RetriableTransferError(
            f"{what}: the server can't at the moment ({status})", read_retry_after(retry_after)
        )
        return error
    return ServerError(f"{what}: the server answered {status}", status)
