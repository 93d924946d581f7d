"""What the server answers, and what a client takes it for: they have to agree."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase, TestCase

from blobman.errors import (
    BlobAlreadyExistsError,
    BlobError,
    BlobNotFoundError,
    InvalidFlagsError,
    QuotaExceededError,
    ServerError,
    UnauthorizedError,
)
from blobman.protocol import REFUSALS, Answer, Subject, answer_error
from blobman.server.http.access import RequestLog
from blobman.server.http.refusals import refusal_for

from ..blobs import sealed
from ..serving import Answer as Received
from ..serving import ServerMixin


def as_a_client_sees(received: Received, without: str = "") -> BlobError:
    """Read an answer as the client does, perhaps without one of its headers."""
    headers = {
        name.decode("ascii").lower(): values[0].decode("ascii")
        for name, values in received.headers.getAllRawHeaders()
    }
    headers.pop(without, None)
    return answer_error(Answer(received.code, headers, received.body), Subject("do", "a"))


class WordsTests(ServerMixin, TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await self.start_server()
        await self.expect(200, "PUT", "blobs/alice/a", sealed("a"))

    async def test_refusals(self) -> None:
        for kind, received in (
            (BlobAlreadyExistsError, await self.ask("PUT", "blobs/alice/a", sealed("b"))),
            (BlobAlreadyExistsError, await self.ask("PUT", "blobs/alice/a", sealed("b", 10**6))),
            (InvalidFlagsError, await self.ask("POST", "blobs/alice/a", b'["SHINY"]')),
            (BlobNotFoundError, await self.ask("GET", "blobs/alice/b")),
            (BlobNotFoundError, await self.ask("GET", "blobs/alice/b?only_flags=True")),
            (BlobNotFoundError, await self.ask("POST", "blobs/alice/b", b"[]")),
            (BlobNotFoundError, await self.ask("DELETE", "blobs/alice/b")),
            (UnauthorizedError, await self.ask("GET", "blobs/alice/a", token="wrong")),
            (UnauthorizedError, await self.ask("GET", "blobs/bob/a")),
            (ServerError, await self.ask("GET", "blobs/alice/a/b")),
            (ServerError, await self.ask("PATCH", "blobs/alice/a")),
            (ServerError, await self.ask("PUT", "blobs/alice/c", b"short")),
            (ServerError, await self.ask("GET", "blobs/alice/?order_by=size")),
        ):
            self.assertIs(type(as_a_client_sees(received)), kind, received.body)
            # A proxy that takes headers away, or a client that does not know this one.
            self.assertIs(type(as_a_client_sees(received, "blobs-answer")), kind, received.body)

    async def test_a_place_that_is_none_is_no_missing_blob(self) -> None:
        for path in ("blobs/alice/a/b", "stream/alice/a", "nowhere/alice/a", ""):
            error = as_a_client_sees(await self.expect(404, "DELETE", path))
            assert isinstance(error, ServerError), path
            self.assertEqual(error.code, 404)

    async def test_successes(self) -> None:
        for received in (
            await self.expect(200, "PUT", "blobs/alice/b", sealed("b")),
            await self.expect(200, "GET", "blobs/alice/b"),
            await self.expect(200, "HEAD", "blobs/alice/b"),
            await self.expect(206, "GET", "blobs/alice/b", headers={"Range": "bytes=0-1"}),
            await self.expect(200, "GET", "blobs/alice/"),
            await self.expect(200, "POST", "blobs/alice/b", b"[]"),
            await self.expect(200, "POST", "stream/alice?direction=upload", b"[]\n"),
            await self.expect(200, "POST", "stream/alice?direction=download", b'["b"]'),
            await self.expect(200, "DELETE", "blobs/alice/b"),
        ):
            self.assertEqual(received.header("Blobs-Answer"), "done")

    async def test_an_empty_stream(self) -> None:
        received = await self.expect(200, "POST", "stream/alice?direction=upload", b"[]\n")
        self.assertEqual(received.body, b"[]")


class RefusalTests(SynchronousTestCase):
    def test_each_has_its_word(self) -> None:
        for refused in REFUSALS:
            refusal = refusal_for(refused.error("x"), RequestLog())
            if refused.error is not UnauthorizedError:
                self.assertEqual((refusal.code, refusal.word), (refused.status, refused.word))
        self.assertEqual(refusal_for(QuotaExceededError("x"), RequestLog()).word, "quota")
