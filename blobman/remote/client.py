"""The client of a blobs server: one method per request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse
from zope.interface import implementer

from ..crypto import Opener, make_sealer
from ..errors import BlobError, BlobNotFoundError, InvalidBlob, RetriableTransferError
from ..interfaces import (
    FlagList,
    IPayload,
    IRemote,
    IStagedBlob,
    Progress,
    no_progress,
)
from ..protocol import (
    TRUE,
    ProtocolError,
    Subject,
    read_flags,
    read_tag,
    strange_answer,
    write_flags,
    write_tag,
)
from .bodies import Bodies, SealedBody, sealed_tag
from .exchange import Exchanges, answer_of
from .idle import IdleTimer
from .questions import Questions
from .receivers import OpeningReceiver, deliver

T = TypeVar("T")

FIRST_BYTES = Headers({"Range": ["bytes=0-1"]})
"""Asks for as little of a blob as both kinds of server give: ours two bytes, Soledad's one."""


@implementer(IRemote)
class BlobsClient(Questions):
    """
    A user's blobs on a server.

    See :class:`blobman.interfaces.IRemote` for how each Deferred can end.
    """

    def __init__(self, exchanges: Exchanges, url: str, secret: bytes) -> None:
        """
        Nothing is connected yet.

        :param exchanges: makes the requests.
        :param url: the base URL, such as ``https://host/blobs/``.
        :param secret: what blobs are sealed with; more than 64 bytes.
        """
        super().__init__(exchanges, url)
        self._secret = secret

    def __repr__(self) -> str:
        return f"<BlobsClient of {self._exchanges.user} at {self._url}>"

    def get_tag(self, blob_id: str, namespace: str = "") -> Deferred[bytes]:
        """See :class:`IRemote`."""
        subject = Subject("get the tag of", blob_id, namespace)

        async def ask(idle: IdleTimer) -> bytes:
            # Soledad's server knows no HEAD.
            response = await self._request(idle, "GET", subject, headers=FIRST_BYTES)
            if response.code not in (200, 206):
                await self._exchanges.finish(idle, response, subject)
            beginning = await self._exchanges.drop(idle, response)
            answer = answer_of(response, beginning)
            try:
                return read_tag(answer.headers.get("tag", ""))
            except ProtocolError as error:
                raise strange_answer(answer, subject, "a blob's tag", error) from error

        return self._exchanges.run(subject, ask)

    def upload(
        self,
        blob_id: str,
        payload: IPayload,
        namespace: str = "",
        progress: Progress = no_progress,
    ) -> Deferred[None]:
        """See :class:`IRemote`."""
        subject = Subject("put", blob_id, namespace)

        async def send(idle: IdleTimer) -> None:
            def make_body() -> SealedBody:
                sealer = make_sealer(self._secret, payload.preamble, payload.size)
                return SealedBody(payload, sealer, idle, self._exchanges.throttle, progress)

            bodies = Bodies(make_body)
            response = await self._request(idle, "PUT", subject, bodies)
            if not bodies.last.complete:
                await self._exchanges.refused_early(idle, response, subject, bodies.last)
            await self._exchanges.expect_done(idle, response, subject)

        return self._exchanges.run(subject, send)

    def download(
        self,
        blob_id: str,
        staged: IStagedBlob,
        namespace: str = "",
        progress: Progress = no_progress,
    ) -> Deferred[None]:
        """See :class:`IRemote`."""
        subject = Subject("get", blob_id, namespace)

        async def receive(idle: IdleTimer) -> None:
            opener = Opener(self._secret, blob_id, namespace)
            response = await self._request(idle, "GET", subject)
            if response.code != 200:
                await self._exchanges.finish(idle, response, subject)
            total = response.length if isinstance(response.length, int) else 0
            throttle = self._exchanges.throttle
            receiver = OpeningReceiver(opener, staged, idle, throttle, total, progress)
            try:
                await deliver(response, receiver)
                opener.finish()
            except InvalidBlob as error:
                raise _not_the_blob(error, response, receiver, subject) from error
            idle.pause()
            await staged.publish(opener.preamble, opener.external)

        async def receive_or_discard(idle: IdleTimer) -> None:
            try:
                await receive(idle)
            except BaseException:
                idle.pause()
                await staged.discard()
                raise

        return self._exchanges.run(subject, receive_or_discard)

    def holds(self, blob_id: str, payload: IPayload, namespace: str = "") -> Deferred[bool]:
        """See :class:`IRemote`."""

        async def compare() -> bool:
            theirs = await self.get_tag(blob_id, namespace)
            if not payload.preamble:
                return False
            return theirs == await sealed_tag(payload, self._secret)

        return Deferred.fromCoroutine(compare())

    def delete(self, blob_id: str, namespace: str = "") -> Deferred[None]:
        """See :class:`IRemote`."""
        subject = Subject("delete", blob_id, namespace)

        async def ask(idle: IdleTimer) -> None:
            repeats: list[None] = []
            response = await self._request(
                idle, "DELETE", subject, on_repeat=lambda: repeats.append(None)
            )
            try:
                await self._exchanges.expect_done(idle, response, subject)
            except BlobNotFoundError:
                # It was this very deletion, the answer to which was lost.
                if not repeats:
                    raise

        return self._exchanges.run(subject, ask)

    def set_flags(self, blob_id: str, flags: Iterable[str], namespace: str = "") -> Deferred[None]:
        """See :class:`IRemote`."""
        body = write_flags(flags)
        subject = Subject("set the flags of", blob_id, namespace)

        async def ask(idle: IdleTimer) -> None:
            response = await self._request(idle, "POST", subject, lambda: body)
            await self._exchanges.expect_done(idle, response, subject)

        return self._exchanges.run(subject, ask)

    def get_flags(self, blob_id: str, namespace: str = "") -> Deferred[FlagList]:
        """See :class:`IRemote`."""
        subject = Subject("get the flags of", blob_id, namespace)

        async def ask(idle: IdleTimer) -> FlagList:
            response = await self._request(idle, "GET", subject, query={"only_flags": TRUE})
            return await self._exchanges.read(idle, response, subject, "flags", read_flags)

        return self._exchanges.run(subject, ask)

    def close(self) -> Deferred[None]:
        """See :class:`IRemote`."""
        return self._exchanges.close()


def _not_the_blob(
    error: InvalidBlob, response: IResponse, receiver: OpeningReceiver, subject: Subject
) -> BlobError:
    """Say what a body is that does not verify: a bad blob, half of one, or none at all."""
    answer = answer_of(response, receiver.beginning)
    tag = answer.headers.get("tag")
    if tag is None:
        return strange_answer(answer, subject, "a blob")
    if receiver.may_be_cut and write_tag(receiver.end) != tag:
        return RetriableTransferError(f"{subject.title}: the answer was cut")
    return error
