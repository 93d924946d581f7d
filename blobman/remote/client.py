"""The client of a blobs server: one method per request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse
from zope.interface import implementer

from ..crypto import PREAMBLE_TEXT_SIZE, Opener, Seals
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
    what_came,
    write_flags,
    write_tag,
)
from ..wire.idle import IdleTimer
from ..wire.receivers import deliver
from .bodies import Bodies, SealedBody, sealed_tag
from .exchange import Exchanges, answer_of
from .questions import Questions
from .receivers import BEGINNING, OpeningReceiver


class _Look(NamedTuple):
    """
    What is seen of a blob without downloading it.

    :ivar tag: its tag.
    :ivar beginning: its first bytes, as many as were asked for, or a few more.
    :ivar content_range: which bytes they are, of how many; empty if that was not said.
    """

    tag: bytes
    beginning: bytes
    content_range: str


@implementer(IRemote)
class BlobsClient(Questions):
    """
    A user's blobs on a server.

    See :class:`blobman.interfaces.IRemote` for how each Deferred can end.
    """

    def __init__(self, exchanges: Exchanges, url: str, seals: Seals) -> None:
        """
        Nothing is connected yet.

        :param exchanges: makes the requests.
        :param url: the base URL, such as ``https://host/blobs/``.
        :param seals: seals and opens the blobs.
        """
        super().__init__(exchanges, url)
        self._seals = seals

    def __repr__(self) -> str:
        return f"<BlobsClient of {self._exchanges.user} at {self._url}>"

    def get_tag(self, blob_id: str, namespace: str = "") -> Deferred[bytes]:
        """See :class:`IRemote`."""
        # Soledad's server knows no HEAD.
        return self._look_at(blob_id, namespace, 1).addCallback(lambda looked: looked.tag)

    def _look_at(self, blob_id: str, namespace: str, size: int) -> Deferred[_Look]:
        """
        Ask for a blob's tag, and for its first bytes.

        :param size: how many bytes. Our server gives one more: Soledad's does not count the last.
        """
        subject = Subject("get the tag of", blob_id, namespace)
        headers = Headers({"Range": [f"bytes=0-{size}"]})

        async def ask(idle: IdleTimer) -> _Look:
            response = await self._request(idle, "GET", subject, headers=headers)
            if response.code not in (200, 206):
                await self._exchanges.finish(idle, response, subject)
            beginning = await self._exchanges.drop(idle, response, max(BEGINNING, size + 1))
            answer = answer_of(response, beginning)
            try:
                tag = read_tag(answer.headers.get("tag", ""))
            except ProtocolError as error:
                raise strange_answer(answer, subject, "a blob's tag", error) from error
            return _Look(tag, beginning, answer.headers.get("content-range", ""))

        return self._exchanges.run(subject, ask)

    def upload(
        self,
        blob_id: str,
        payload: IPayload,
        namespace: str = "",
        progress: Progress = no_progress,
    ) -> Deferred[bytes]:
        """See :class:`IRemote`."""
        subject = Subject("put", blob_id, namespace)

        async def send(idle: IdleTimer) -> bytes:
            def make_body() -> SealedBody:
                sealer = self._seals.sealer(payload.preamble, payload.size, namespace)
                return SealedBody(payload, sealer, idle, self._exchanges.throttle, progress)

            bodies = Bodies(make_body)
            response = await self._request(idle, "PUT", subject, bodies)
            if not bodies.last.complete:
                await self._exchanges.refused_early(idle, response, subject, bodies.last)
            await self._exchanges.expect_done(idle, response, subject)
            return bodies.last.tag

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
            opener = self._seals.opener(blob_id, namespace)
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
                raise _not_the_blob(error, response, receiver, opener, subject) from error
            idle.pause()
            await staged.publish(opener.preamble, opener.external, opener.tag, opener.sealed_size)

        async def receive_or_discard(idle: IdleTimer) -> None:
            try:
                await receive(idle)
            except BaseException:
                idle.pause()
                await staged.discard()
                raise

        return self._exchanges.run(subject, receive_or_discard)

    def compare(
        self, blob_id: str, payload: IPayload, namespace: str = ""
    ) -> Deferred[bytes | None]:
        """See :class:`IRemote`."""

        async def compare() -> bytes | None:
            if not payload.preamble:
                return await self._compare_content(blob_id, payload, namespace)
            theirs = await self.get_tag(blob_id, namespace)
            sealer = self._seals.sealer(payload.preamble, payload.size, namespace)
            return theirs if theirs == await sealed_tag(payload, sealer) else None

        return Deferred.fromCoroutine(compare())

    async def _compare_content(
        self, blob_id: str, payload: IPayload, namespace: str
    ) -> bytes | None:
        """Find out whether a payload, sealed as the server's blob is, has the same tag."""
        looked = await self._look_at(blob_id, namespace, PREAMBLE_TEXT_SIZE + 1)
        opener = self._seals.opener(blob_id, namespace)
        try:
            opener.feed(looked.beginning)
            if opener.external != payload.external:
                return None
            sealer = self._seals.sealer(opener.preamble, payload.size, namespace)
        except (InvalidBlob, ValueError):  # It is sealed with something else, or of another size.
            return None
        # The tag of a blob that others sealed is only how it ends.
        if looked.content_range.rpartition("/")[2] != str(sealer.sealed_size):
            return None
        return looked.tag if looked.tag == await sealed_tag(payload, sealer) else None

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
    error: InvalidBlob,
    response: IResponse,
    receiver: OpeningReceiver,
    opener: Opener,
    subject: Subject,
) -> BlobError:
    """Say what a body is that does not verify: a bad blob, half of one, or none at all."""
    answer = answer_of(response, receiver.beginning)
    tag = answer.headers.get("tag")
    if tag is None or what_came(answer.body) == "HTML":
        return strange_answer(answer, subject, "a blob")
    if receiver.may_be_cut and write_tag(opener.tag) != tag:
        return RetriableTransferError(f"{subject.title}: the answer was cut")
    return error
