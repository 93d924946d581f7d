"""The client of a server's streams: many blobs in one request."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredLock
from zope.interface import implementer

from ..crypto import Opener, Seals
from ..errors import InvalidBlob, RetriableTransferError, ServerError
from ..interfaces import Ended, Ids, IRemoteStream, IStagedBlob, Payloads, Sent
from ..protocol import (
    ProtocolError,
    Subject,
    read_results,
    strange_answer,
    stream_url,
    write_ids,
    write_manifest,
)
from ..wire.idle import IdleTimer
from ..wire.receivers import deliver
from .bodies import Bodies, SealedStream
from .exchange import Exchanges, answer_of
from .frames import FramesReceiver

LARGEST = 4 * 1024 * 1024
"""The sealed size, in bytes, of the largest blob that comes down with others."""

RESULT_SIZE = 512
"""Bytes that an answer says of each blob of an upload, at most."""

SUBJECT = Subject("in a stream")

T = TypeVar("T")


@implementer(IRemoteStream)
class BlobsStream:
    """
    A user's blobs on a server, many to a request.

    See :class:`blobman.interfaces.IRemoteStream` for how each Deferred can end.
    """

    def __init__(self, exchanges: Exchanges, url: str, seals: Seals) -> None:
        """
        Nothing is connected yet.

        :param exchanges: makes the requests.
        :param url: the base URL, such as ``https://host/stream/``.
        :param seals: seals and opens the blobs.
        """
        self._exchanges = exchanges
        self._url = url
        self._seals = seals
        self._known: bool | None = None
        self._asking = DeferredLock()
        self._refused_size: int | None = None

    def __repr__(self) -> str:
        return f"<BlobsStream of {self._exchanges.user} at {self._url}>"

    def upload_many(self, payloads: Payloads, namespace: str = "") -> Deferred[dict[str, Sent]]:
        """See :class:`IRemoteStream`."""

        async def send() -> dict[str, Sent]:
            if not await self._are_known():
                return {}
            try:
                return await self._run(lambda idle: self._send(idle, url, payloads, namespace))
            except InvalidBlob:  # One of them. The others are not to fail with it.
                return {}

        url = stream_url(self._url, self._exchanges.user, "upload", namespace)
        return Deferred.fromCoroutine(send())

    def download_many(
        self,
        blob_ids: Ids,
        stage: Callable[[str, str], IStagedBlob],
        ended: Ended,
        namespace: str = "",
    ) -> Deferred[None]:
        """See :class:`IRemoteStream`."""

        def begin(blob_id: str) -> tuple[Opener, IStagedBlob]:
            return self._seals.opener(blob_id, namespace), stage(blob_id, namespace)

        async def receive_from(idle: IdleTimer) -> None:
            throttle = self._exchanges.throttle
            receiver = FramesReceiver(blob_ids, namespace, begin, ended, idle, throttle, LARGEST)
            await self._receive(idle, url, blob_ids, receiver)

        async def receive() -> None:
            if await self._are_known():
                await self._run(receive_from)

        url = stream_url(self._url, self._exchanges.user, "download", namespace)
        return Deferred.fromCoroutine(receive())

    async def _run(self, work: Callable[[IdleTimer], Coroutine[Deferred[Any], Any, T]]) -> T:
        try:
            return await self._exchanges.run(SUBJECT, work)
        except ServerError as error:
            if error.code not in (404, 405):
                raise
            text = f"{SUBJECT.title}: the server has no streams there ({error.code})"
            raise ServerError(text, error.code, may_pass=error.may_pass) from error

    # -- whether the server knows them -------------------------------------------------

    async def _are_known(self) -> bool:
        """
        Ask the server once whether it has such streams as ours has.

        Soledad's are not used: one direction overwrites blobs, and the other stalls.
        """
        await self._asking.acquire()
        try:
            if self._known is None:
                self._known = await self._run(self._ask)
            return self._known
        finally:
            self._asking.release()

    async def _ask(self, idle: IdleTimer) -> bool:
        url = stream_url(self._url, self._exchanges.user, "upload")
        response = await self._exchanges.request(idle, "POST", url, lambda: write_manifest([]))
        wanted = "the answer to an empty stream"
        return await self._exchanges.read(idle, response, SUBJECT, wanted, _read_whether_known)

    # -- up ----------------------------------------------------------------------------

    async def _send(
        self, idle: IdleTimer, url: str, payloads: Payloads, namespace: str
    ) -> dict[str, Sent]:
        bodies = Bodies(lambda: self._body(idle, payloads, namespace))
        size = bodies.last.length
        if self._refused_size is not None and size >= self._refused_size:
            return {}
        response = await self._exchanges.request(idle, "POST", url, bodies)
        try:
            if not bodies.last.complete:
                await self._exchanges.refused_early(idle, response, SUBJECT, bodies.last)
            limit = RESULT_SIZE * (len(payloads) + 1)
            results = await self._exchanges.read(
                idle, response, SUBJECT, "what became of each blob", read_results, limit
            )
        except ServerError as error:
            if error.code != 413:
                raise
            self._refused_size = size
            return {}
        ids = [blob_id for blob_id, _ in payloads]
        tags = dict(zip(ids, bodies.last.tags, strict=True))
        return {it: Sent(result, tags[it]) for it, result in results if it in tags}

    def _body(self, idle: IdleTimer, payloads: Payloads, namespace: str) -> SealedStream:
        sealers = [self._seals.sealer(it.preamble, it.size, namespace) for _, it in payloads]
        sizes = [sealer.sealed_size for sealer in sealers]
        ids, contents = [blob_id for blob_id, _ in payloads], [it for _, it in payloads]
        first_line = write_manifest(zip(ids, sizes, strict=True))
        return SealedStream(first_line, contents, sealers, idle, self._exchanges.throttle)

    # -- down --------------------------------------------------------------------------

    async def _receive(
        self, idle: IdleTimer, url: str, blob_ids: Ids, receiver: FramesReceiver
    ) -> None:
        response = await self._exchanges.request(idle, "POST", url, lambda: write_ids(blob_ids))
        if response.code != 200:
            await self._exchanges.finish(idle, response, SUBJECT)
        try:
            await deliver(response, receiver)
            if receiver.is_cut:
                raise RetriableTransferError(f"{SUBJECT.title}: the answer was cut")
        except ProtocolError as error:
            answer = answer_of(response, bytes(receiver.header))
            raise strange_answer(answer, SUBJECT, "blobs", error) from error
        finally:
            idle.pause()
            await receiver.close()


def _read_whether_known(body: bytes) -> bool:
    if body and read_results(body):
        raise ProtocolError("it says something of blobs that it was not sent")
    return bool(body)
