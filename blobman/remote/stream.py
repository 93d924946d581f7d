"""The client of a server's streams: many blobs in one request."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ..crypto import Opener, make_sealer
from ..errors import ServerError
from ..interfaces import Ended, Ids, IRemoteStream, IStagedBlob, Payloads
from ..protocol import ProtocolError, read_results, stream_url, write_ids, write_manifest
from .bodies import SealedStream
from .exchange import Exchanges, Subject, check_answer
from .idle import IdleTimer
from .receivers import FramesReceiver, deliver

LARGEST = 4 * 1024 * 1024
"""The sealed size, in bytes, of the largest blob that comes down with others."""

MAX_RESULTS_SIZE = 1024 * 1024
"""Bytes of the longest answer to an upload."""


@implementer(IRemoteStream)
class BlobsStream:
    """
    A user's blobs on a server, many to a request.

    See :class:`blobman.interfaces.IRemoteStream` for how each Deferred can end.
    """

    def __init__(self, exchanges: Exchanges, url: str, secret: bytes) -> None:
        """
        Nothing is connected yet.

        :param exchanges: makes the requests.
        :param url: the base URL, such as ``https://host/stream/``.
        :param secret: what blobs are sealed with; more than 64 bytes.
        """
        self._exchanges = exchanges
        self._url = url
        self._secret = secret

    def __repr__(self) -> str:
        return f"<BlobsStream of {self._exchanges.user} at {self._url}>"

    def upload_many(self, payloads: Payloads, namespace: str = "") -> Deferred[dict[str, str]]:
        """See :class:`IRemoteStream`."""
        subject = Subject("in a stream")
        url = stream_url(self._url, self._exchanges.user, "upload", namespace)

        async def send(idle: IdleTimer) -> dict[str, str]:
            sealers = [make_sealer(self._secret, it.preamble, it.size) for _, it in payloads]
            entries = [
                (blob_id, sealer.sealed_size)
                for (blob_id, _), sealer in zip(payloads, sealers, strict=True)
            ]
            first_line = write_manifest(entries)
            throttle = self._exchanges.throttle
            body = SealedStream(first_line, [it for _, it in payloads], sealers, idle, throttle)
            response = await self._exchanges.request(idle, "POST", url, body)
            if not body.complete:
                body.abort()
                _check_place(response.code, subject)
                check_answer(response, subject)
                raise ServerError(f"{subject.title}: the server answered before it had it all")
            _check_place(response.code, subject)
            answer = await self._exchanges.finish(idle, response, subject, MAX_RESULTS_SIZE)
            return _read_results(answer, {blob_id for blob_id, _ in payloads})

        return self._exchanges.run(subject, send)

    def download_many(
        self,
        blob_ids: Ids,
        stage: Callable[[str, str], IStagedBlob],
        ended: Ended,
        namespace: str = "",
    ) -> Deferred[None]:
        """See :class:`IRemoteStream`."""
        subject = Subject("in a stream")
        url = stream_url(self._url, self._exchanges.user, "download", namespace)

        def begin(blob_id: str) -> tuple[Opener, IStagedBlob]:
            return Opener(self._secret, blob_id, namespace), stage(blob_id, namespace)

        async def receive(idle: IdleTimer) -> None:
            throttle = self._exchanges.throttle
            receiver = FramesReceiver(blob_ids, namespace, begin, ended, idle, throttle, LARGEST)
            response = await self._exchanges.request(idle, "POST", url, write_ids(blob_ids))
            _check_place(response.code, subject)
            if response.code != 200:
                await self._exchanges.finish(idle, response, subject)
            try:
                await deliver(response, receiver)
            finally:
                idle.pause()
                await receiver.close()

        return self._exchanges.run(subject, receive)


def _check_place(code: int, subject: Subject) -> None:
    if code in (404, 405):
        raise ServerError(f"{subject.title}: the server has no streams there ({code})", code)


def _read_results(answer: bytes, sent: set[str]) -> dict[str, str]:
    """Soledad's server says nothing of each blob: then nothing is known."""
    try:
        results = dict(read_results(answer))
    except ProtocolError:
        return {}
    return {blob_id: result for blob_id, result in results.items() if blob_id in sent}
