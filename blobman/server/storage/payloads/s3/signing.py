"""Signatures of requests to an object store (AWS Signature Version 4), and whose they are."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import botocore.exceptions
import botocore.session
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.web.http_headers import Headers

from ...interface import UnavailableError
from .bucket import Bucket

# At this level it would log what it signs, session tokens included.
logging.getLogger("botocore.auth").setLevel(logging.INFO)

UNSIGNED = "UNSIGNED-PAYLOAD"
"""Stands for the hash of content that TLS protects."""

IN_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
"""Stands for the hash of content whose chunks are signed one by one."""

CHUNK = 256 * 1024
"""Bytes of a chunk that is signed by itself."""

_NOTHING = hashlib.sha256().hexdigest()


class _Auth(S3SigV4Auth):  # type: ignore[misc]
    """Signs with a hash of the content that it is given."""

    def payload(self, request: AWSRequest) -> str:
        """Give the hash."""
        digest: str = request.context["digest"]
        return digest


class Chunks:
    """
    Signs the chunks of one request's content, in their order.

    :param auth: has signed the request.
    """

    def __init__(self, auth: Any, request: Any) -> None:
        self._auth = auth
        self._request = request
        self._previous: str = request.headers["Authorization"].rpartition("Signature=")[2]
        self._scope: str = auth.credential_scope(request)

    def frame(self, content: bytes) -> bytes:
        """Give a chunk with its signature. The last one is empty."""
        parts = (
            "AWS4-HMAC-SHA256-PAYLOAD",
            self._request.context["timestamp"],
            self._scope,
            self._previous,
            _NOTHING,
            hashlib.sha256(content).hexdigest(),
        )
        self._previous = self._auth.signature("\n".join(parts), self._request)
        head = f"{len(content):x};chunk-signature={self._previous}\r\n"
        return b"".join((head.encode("ascii"), content, b"\r\n"))


def framed_size(size: int) -> int:
    """Tell how many bytes content has with what :class:`Chunks` puts around its chunks."""
    full, rest = divmod(size, CHUNK)
    frame = len(";chunk-signature=") + 64 + 2 * len("\r\n")
    total = full * (len(f"{CHUNK:x}") + frame + CHUNK) + 1 + frame
    return total + (len(f"{rest:x}") + frame + rest if rest else 0)


class Signed(NamedTuple):
    """
    A request that may be sent, for a few minutes.

    :ivar chunks: signs the chunks of its content, if that was not hashed before.
    """

    headers: Headers
    chunks: Chunks


class Signer:
    """
    Signs in the name of whom the ``AWS_*`` variables and files say, as every program for S3 does.

    :param reactor: reading those may take a while: it is done in its threads.
    :param load: gives credentials of botocore's, or None; it blocks.
    """

    def __init__(self, reactor: Any, bucket: Bucket, load: Callable[[], Any] | None = None) -> None:
        self._reactor = reactor
        self._bucket = bucket
        self._load = load or (lambda: botocore.session.Session().get_credentials())
        self._credentials: Any = None
        self._frozen: Any = None

    def forget(self) -> None:
        """Read the credentials anew before the next request: they were refused."""
        self._credentials = self._frozen = None

    async def sign(self, method: str, url: str, headers: dict[str, str], digest: str) -> Signed:
        """
        Sign a request.

        :param digest: the SHA-256 of its content, in hexadecimal; :data:`UNSIGNED`, or
            :data:`IN_CHUNKS`.
        :return: what to send. Raises ``UnavailableError`` if there are no credentials.
        """
        if self._frozen is None or self._is_old():
            self._frozen = await self._in_thread(self._freeze)
        auth = _Auth(self._frozen, "s3", self._bucket.region)
        request = AWSRequest(method, url, headers)
        request.context["digest"] = digest
        auth.add_auth(request)
        all_headers = Headers()
        for name, value in request.headers.items():
            all_headers.addRawHeader(name, value)
        return Signed(all_headers, Chunks(auth, request))

    def _is_old(self) -> bool:
        refresh_needed = getattr(self._credentials, "refresh_needed", None)
        return refresh_needed is not None and bool(refresh_needed())

    def _in_thread(self, call: Callable[[], Any]) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), call)

    def _freeze(self) -> Any:
        try:
            if self._credentials is None:
                self._credentials = self._load()
            if self._credentials is not None:
                return self._credentials.get_frozen_credentials()
        except botocore.exceptions.BotoCoreError as error:
            # Its text may repeat what is in a file.
            kind = type(error).__name__
            raise UnavailableError(f"the credentials for S3 can't be read ({kind})") from None
        raise UnavailableError(
            "there are no credentials for S3: they are looked for in AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, in ~/.aws, and where the machine has them"
        )


def default_region() -> str | None:
    """Give the region that the ``AWS_*`` variables and files name, if they do. This blocks."""
    if region := os.environ.get("AWS_REGION"):
        return region
    with suppress(botocore.exceptions.BotoCoreError):
        region = botocore.session.Session().get_config_variable("region")
    return region or None
