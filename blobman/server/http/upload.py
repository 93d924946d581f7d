"""One blob's way in: from a request's body to its place."""

from __future__ import annotations

from ...errors import InvalidBlob
from ...protocol import MAX_SEALED_SIZE, MIN_SEALED_SIZE
from ..storage.interface import SMALL, BlobName, IBlobsBackend, IUpload
from .answers import check_present
from .body import BodyTooLargeError
from .request import BlobsRequest


def check_sealed_size(size: int) -> None:
    """
    Look whether that many bytes can be a sealed blob.

    :raise InvalidBlob: they can't: a preamble is longer.
    :raise BodyTooLargeError: they can't: nothing so long can be sealed.
    """
    if size < MIN_SEALED_SIZE:
        raise InvalidBlob(f"{size} bytes can't be a sealed blob")
    check_longest(size)


def check_longest(size: int) -> None:
    """
    Look whether a blob can have that many bytes.

    :raise BodyTooLargeError: it can't.
    """
    if size > MAX_SEALED_SIZE:
        raise BodyTooLargeError


async def store_one(backend: IBlobsBackend, name: BlobName, content: bytes) -> None:
    """
    Store a small blob in one step.

    :raise BlobAlreadyExistsError: the name is taken.
    :raise QuotaExceededError: it does not fit.
    """
    (error,) = await backend.store([(name, content)])
    if error:
        raise error


async def receive_blob(request: BlobsRequest, backend: IBlobsBackend, name: BlobName) -> None:
    """
    Take a request's body as a new blob; or leave nothing behind.

    :raise InvalidBlob: it is too short to be one.
    :raise BodyTooLargeError: it is too long to be one.
    :raise BlobAlreadyExistsError: the name is taken.
    :raise QuotaExceededError: it does not fit.
    :raise ClientGoneError: the body was cut short.
    """
    size = request.body.length
    if size is not None:
        check_sealed_size(size)
        if size <= SMALL and request.body.wanted is None:
            await store_one(backend, name, await request.body.read_all(SMALL))
            return
    upload = await backend.receive(name, size)
    await write_body(request, upload)
    await upload.publish()


async def write_body(request: BlobsRequest, upload: IUpload, head: bytes = b"") -> None:
    """
    Write a request's body to an upload as it comes, or discard the upload.

    :param head: what is to stand before it.
    :raise InvalidBlob: it is too short to be a sealed blob.
    :raise BodyTooLargeError: it is too long to be one.
    :raise QuotaExceededError: it does not fit.
    :raise ClientGoneError: the body was cut short, or the client has gone with its end.
    """
    try:
        if head:
            await upload.write([head])
        while pieces := await request.body.read():
            check_longest(upload.size + sum(map(len, pieces)))
            await upload.write(pieces)
        check_sealed_size(upload.size)
        # Who has gone does not want it any more: it may be deleting it already.
        check_present(request)
    except BaseException:
        await upload.discard()
        raise
