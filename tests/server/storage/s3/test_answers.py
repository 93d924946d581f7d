"""What a store may answer, or something in its place, and what becomes of it."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from botocore.credentials import Credentials
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from blobman.server.storage.interface import DamagedError, UnavailableError
from blobman.server.storage.payloads.interface import IPayload
from blobman.server.storage.payloads.s3 import writing
from blobman.server.storage.payloads.s3.client import ATTEMPTS, PATIENCE
from blobman.server.storage.payloads.s3.signing import CHUNK
from blobman.server.storage.payloads.s3.writing import COLLECTED

from .scripted import Answer, Asked, Scripted, ScriptedCase, Told, error

MISSING = error(404, "NoSuchKey")
LIST = "ListMultipartUploadsResult"
KEY = "a" * 32
SLOW_DOWN = error(503, "SlowDown")


def stored(asked: Asked) -> Told:
    """Store something that was sent as it is."""
    return Told(200, b"", {"etag": f'"{hashlib.md5(asked.body).hexdigest()}"'})


def stored_in_chunks(asked: Asked) -> Told:
    """Store something that was sent in chunks, each of which is signed."""
    content, rest = b"", asked.body
    while rest:
        head, _, rest = rest.partition(b"\r\n")
        size = int(head.partition(b";")[0], 16)
        content, rest = content + rest[:size], rest[size + 2 :]
    assert len(content) == int(asked.headers["x-amz-decoded-content-length"])
    return stored(asked._replace(body=content))


class RetryTests(ScriptedCase):
    async def test_what_may_pass(self) -> None:
        cut = Told(200, None)
        for trouble in (
            SLOW_DOWN,
            error(500, "InternalError"),
            error(400, "RequestTimeout"),
            Told(502, b"<html>bad gateway</html>"),
            Told(429),
            cut,
        ):
            payloads, scripted = await self.answering(trouble, trouble, Told(200, b"mark"))
            self.assertEqual(await payloads.read_mark(), "mark")
            self.assertEqual(len(scripted.asked), 3, trouble)

    async def test_what_does_not(self) -> None:
        payloads, scripted = await self.answering(SLOW_DOWN)
        failure = await self.fails(UnavailableError, payloads.read_mark())
        self.assertIn("503 SlowDown", str(failure))
        self.assertEqual(len(scripted.asked), ATTEMPTS)

    async def test_a_store_that_wants_to_be_left_alone(self) -> None:
        payloads, scripted = await self.answering(error(503, "SlowDown", retry_after="1800"))
        failure = await self.fails(UnavailableError, payloads.read_mark())
        self.assertEqual(failure.retry_after, 1800)
        self.assertEqual(len(scripted.asked), 1)

    async def test_odd_times_to_wait(self) -> None:
        for odd in ("-1", "soon", "9" * 5000, "\u00b2".encode().decode("latin-1"), ""):
            payloads, scripted = await self.answering(
                error(503, "SlowDown", retry_after=odd), Told(200, b"mark")
            )
            self.assertEqual(await payloads.read_mark(), "mark")
            self.assertEqual(len(scripted.asked), 2)

    async def test_refusals_that_stay(self) -> None:
        for answer, words in (
            (error(403, "AccessDenied"), "403 AccessDenied"),
            (error(403, "SignatureDoesNotMatch"), "403 SignatureDoesNotMatch"),
            (error(403, "RequestTimeTooSkewed"), "its clock and this machine's differ"),
            (error(301, "PermanentRedirect"), "in another region"),
            (error(400, "AuthorizationHeaderMalformed"), "in another region"),
            (error(404, "NoSuchBucket"), "404 NoSuchBucket"),
            (Told(404, b"not found"), "404"),
        ):
            payloads, scripted = await self.answering(answer)
            failure = await self.fails(UnavailableError, payloads.read_mark())
            self.assertIn(words, str(failure))
            self.assertEqual(len(scripted.asked), 1, answer)

    async def test_codes_that_are_none(self) -> None:
        """What an error says does not go into a log as it is."""
        for code in ("a\nforged line", "x" * 100_000, "<x/>", "\u0663"):
            payloads, _ = await self.answering(error(403, code))
            failure = await self.fails(UnavailableError, payloads.read_mark())
            self.assertRegex(str(failure), r"\A127\.0\.0\.1:\d+ answers 403\Z")

    async def test_credentials_that_have_run_out(self) -> None:
        loaded = iter([Credentials("first", "hidden"), Credentials("second", "hidden")])
        payloads, scripted = await self.answering(
            error(403, "ExpiredToken"), Told(200, b"mark"), load=lambda: next(loaded)
        )
        self.assertEqual(await payloads.read_mark(), "mark")
        used = [it.headers["authorization"].partition("/")[0][-6:] for it in scripted.asked]
        self.assertEqual(used, ["=first", "second"])

    async def test_content_that_is_sent_again(self) -> None:
        """What is small is kept until it is there."""
        content = secrets.token_bytes(COLLECTED)
        payloads, scripted = await self.answering(MISSING, SLOW_DOWN, Told(200, None), stored)
        writer = await payloads.create(KEY, len(content))
        await writer.write([content[:1000], memoryview(content)[1000:]])
        await writer.commit()
        self.assertEqual([it.body for it in scripted.asked[1:]], [content] * 3)

    async def test_content_that_can_not_be_sent_again(self) -> None:
        payloads, scripted = await self.answering(MISSING, SLOW_DOWN, MISSING)
        writer = await payloads.create(KEY, COLLECTED + 1)
        await writer.write([bytes(COLLECTED + 1)])
        await self.fails(UnavailableError, writer.commit())
        self.assertEqual([it.method for it in scripted.asked], ["HEAD", "PUT"])

    async def test_an_answer_that_comes_before_the_content(self) -> None:
        early = SLOW_DOWN._replace(is_early=True)
        payloads, _ = await self.answering(MISSING, early)
        writer = await payloads.create(KEY, 1000 * CHUNK)

        async def write() -> None:
            for _ in range(1000):
                await writer.write([bytes(CHUNK)])

        failure = await self.fails(UnavailableError, Deferred.fromCoroutine(write()))
        self.assertIn("503 SlowDown", str(failure))
        await writer.discard()


class StoredTests(ScriptedCase):
    """Nothing counts as stored that is not."""

    async def write(self, *answers: Answer, size: int = 1000) -> None:
        payloads, _ = await self.answering(MISSING, *answers)
        writer = await payloads.create(KEY, size)
        await writer.write([bytes(size)])
        await self.fails(UnavailableError, writer.commit())

    async def test_other_bytes_than_were_sent(self) -> None:
        wrong = Told(200, b"", {"etag": f'"{hashlib.md5(b"other").hexdigest()}"'})
        for size in (1000, COLLECTED + 1):
            await self.write(wrong, size=size)

    async def test_something_that_is_no_store(self) -> None:
        for answer in (Told(200), Told(200, b"<html>Log in here</html>"), Told(204)):
            await self.write(answer)

    async def test_an_object_with_a_key_of_its_own(self) -> None:
        """Its tag is no checksum."""
        for header in ("", "-customer-algorithm"):
            name = f"x-amz-server-side-encryption{header}"
            kind = "AES256" if header else "aws:kms"
            told = Told(200, b"", {"etag": f'"{"0" * 32}"', name: kind})
            payloads, _ = await self.answering(MISSING, told)
            writer = await payloads.create(KEY, 5)
            await writer.write([b"abcde"])
            await writer.commit()

    async def test_a_key_that_was_used(self) -> None:
        payloads, scripted = await self.answering(Told(200))
        await self.fails(UnavailableError, payloads.create(KEY, 5))
        self.assertEqual([it.method for it in scripted.asked], ["HEAD"])

    async def test_parts(self) -> None:
        self.patch(writing, "SMALL_PART", 1000)
        begun = Told(200, b"<R xmlns='x'><UploadId>u</UploadId></R>")
        done = Told(200, b"<CompleteMultipartUploadResult/>")
        no_upload = error(404, "NoSuchUpload")
        for expected, ends in (
            (True, [done, Told(200, b"", {"content-length": "1500"})]),
            # The answer to the first attempt was lost.
            (True, [Told(200, None), no_upload, Told(200, b"", {"content-length": "1500"})]),
            # It had begun to answer before it knew.
            (True, [error(200, "InternalError"), done, Told(200, b"", {"content-length": "1500"})]),
            (False, [error(200, "InvalidPart")]),
            (False, [Told(200, b"<html/>")]),
            (False, [done, Told(200, b"", {"content-length": "1499"})]),
            (False, [done, MISSING]),
            (False, [no_upload, MISSING]),
        ):
            payloads, scripted = await self.answering(
                MISSING, begun, stored, stored, *ends, Told(204)
            )
            writer = await payloads.create(KEY)
            await writer.write([bytes(1500)])
            if expected:
                await writer.commit()
                continue
            await self.fails(UnavailableError, writer.commit())
            self.assertEqual(scripted.asked[-1].method, "DELETE")
            self.assertTrue(scripted.asked[-1].path.endswith("?uploadId=u"))

    async def test_an_upload_without_an_id(self) -> None:
        self.patch(writing, "SMALL_PART", 1000)
        hidden = "<?xml version='1.0' encoding='utf-16'?>" + BOMB.decode()
        odd = [f"<?xml version='1.0' encoding='{it}'?><R/>".encode() for it in ("x", "shift_jis")]
        for body in (b"<R/>", b"no xml", BOMB, hidden.encode("utf-16"), *odd):
            answer = Told(200, body)
            payloads, _ = await self.answering(MISSING, answer)
            writer = await payloads.create(KEY)
            await self.fails(UnavailableError, writer.write([bytes(1500)]))
            await writer.discard()


BOMB = b"""<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>
<R><UploadId>&b;</UploadId></R>"""


class ReadingTests(ScriptedCase):
    """Nothing is handed over that is not what was asked for."""

    def part(self, text: str, body: bytes, **more: Any) -> Told:
        return Told(206, body, {"content-range": f"bytes {text}"}, **more)

    async def opened(self, *answers: Answer) -> IPayload:
        head = Told(200, b"", {"content-length": "10"})
        payloads, self.scripted = await self.answering(head, *answers)
        payload = await payloads.get(KEY)
        self.addCleanup(payload.close)
        return payload

    async def test_a_part(self) -> None:
        payload = await self.opened(self.part("2-4/10", b"cde"))
        self.assertEqual(await payload.read(2, 5), b"cde")
        self.assertEqual(self.scripted.asked[-1].headers["range"], "bytes=2-4")

    async def test_other_parts(self) -> None:
        for kind, answer in (
            (UnavailableError, Told(200, b"abcdefghij")),
            (UnavailableError, self.part("1-3/10", b"bcd")),
            (UnavailableError, Told(206, b"cde")),
            (UnavailableError, self.part("x-y/z", b"cde")),
            (UnavailableError, self.part(f"2-4{'0' * 5000}/10", b"cde")),
            (DamagedError, self.part("2-3/4", b"cd")),
            (DamagedError, error(416, "InvalidRange")),
            (UnavailableError, error(403, "AccessDenied")),
        ):
            payload = await self.opened(answer)
            await self.fails(kind, payload.read(2, 5))

    async def test_what_nobody_wants_is_not_waited_for(self) -> None:
        """The connection with an answer that is not taken is closed."""
        endless = Told(206, b"x", {"content-range": "bytes 1-3/10", "content-length": "3"})
        payload = await self.opened(endless)
        await self.fails(UnavailableError, payload.read(2, 5))
        await self.scripted.connections[-1].lost

    async def test_one_that_is_cut(self) -> None:
        """It is asked for again, a few times."""
        cut = self.part("2-4/10", b"cde", is_cut=True)
        payload = await self.opened(cut, cut, self.part("2-4/10", b"cde"))
        self.assertEqual(await payload.read(2, 5), b"cde")
        payload = await self.opened(cut)
        await self.fails(UnavailableError, payload.read(2, 5))

    async def test_cut_while_it_is_read_in_order(self) -> None:
        """It goes on where it was cut."""
        whole = self.part("0-9/10", b"abcdefghij", is_cut=True)
        payload = await self.opened(whole, self.part("8-9/10", b"ij"))
        payload.read_ahead(0, 10)
        read = [await payload.read(start, start + 4) for start in (0, 4)]
        read.append(await payload.read(8, 10))
        self.assertEqual(read, [b"abcd", b"efgh", b"ij"])
        ranges = [it.headers["range"] for it in self.scripted.asked[1:]]
        self.assertEqual(ranges, ["bytes=0-9", "bytes=8-9"])

    async def test_what_is_missing_after_it_was_opened(self) -> None:
        payload = await self.opened(MISSING, MISSING)
        await self.fails(DamagedError, payload.read(2, 5))

    async def test_a_store_that_is_missing(self) -> None:
        """Not all payloads are lost if the bucket is not the one that it was."""
        gone = error(404, "NoSuchBucket")
        for replaced in (gone, Told(200, b"another"), MISSING):
            mark = Told(200, b"mark")
            payloads, _ = await self.answering(mark, Told(404), replaced)
            await payloads.read_mark()
            await self.fails(UnavailableError, payloads.get(KEY))
            payloads, _ = await self.answering(mark, MISSING, replaced)
            await payloads.read_mark()
            await self.fails(UnavailableError, payloads.get(KEY, 1000))
        payloads, _ = await self.answering(mark, MISSING, mark)
        await payloads.read_mark()
        await self.fails(DamagedError, payloads.get(KEY))

    async def test_a_length_that_is_none(self) -> None:
        chunked = {"transfer-encoding": "chunked", "content-length": ""}
        payloads, _ = await self.answering(Told(200, b"", chunked))
        await self.fails(UnavailableError, payloads.get(KEY))

    async def test_a_listed_size_that_is_none(self) -> None:
        for size in ("", "-1", "9" * 5000):
            text = f"<Contents><Key>p/a</Key><Size>{size}</Size></Contents>"
            told = Told(200, f"<ListBucketResult>{text}</ListBucketResult>".encode())
            payloads, _ = await self.answering(told)
            listing = Deferred.fromCoroutine(payloads.listed().asend(None))
            await self.fails(UnavailableError, listing)

    async def test_a_store_without_ranges(self) -> None:
        payloads, _ = await self.answering(Told(200, b"abc"))
        self.assertEqual((await payloads.get(KEY, 10)).content, b"abc")


class RemovingTests(ScriptedCase):
    NOTHING_BEGUN = Told(200, b"<ListMultipartUploadsResult/>")

    async def test_an_error_about_something_else(self) -> None:
        """Nothing counts as removed if it is not clear what is left."""
        for key in ("<Key>p/z</Key>", ""):
            result = Told(200, f"<DeleteResult><Error>{key}</Error></DeleteResult>".encode())
            payloads, _ = await self.answering(result, self.NOTHING_BEGUN)
            self.assertEqual([*await payloads.remove(["a", "b"])], ["a", "b"])

    async def test_a_list_of_uploads_that_does_not_end(self) -> None:
        more = "<IsTruncated>true</IsTruncated>"
        for marker in ("", "<NextKeyMarker>p/b</NextKeyMarker>"):
            endless = Told(200, f"<{LIST}>{more}{marker}</{LIST}>".encode())
            payloads, scripted = await self.answering(Told(204), endless, endless, MISSING)
            self.assertEqual([*await payloads.remove(["a"])], ["a"])
            self.assertLessEqual(len(scripted.asked), 3)

    async def test_what_is_no_list_of_uploads(self) -> None:
        payloads, _ = await self.answering(Told(204), Told(200, b"<html/>"))
        self.assertEqual([*await payloads.remove(["a"])], ["a"])

    async def test_those_that_can_not_be_removed(self) -> None:
        text = b"<Error><Key>p/b</Key><Code>InternalError</Code></Error>"
        result = Told(200, b"<DeleteResult>" + text + b"</DeleteResult>")
        payloads, scripted = await self.answering(result, self.NOTHING_BEGUN)
        left = await payloads.remove(["a", "b", "c"])
        self.assertEqual([*left], ["b"])
        self.assertIn("<Key>p/c</Key>", scripted.asked[0].body.decode())

    async def test_a_store_that_removes_one_at_a_time(self) -> None:
        for unknown in (error(501, "NotImplemented"), error(400, "Unsupported")):
            payloads, scripted = await self.answering(
                unknown, Told(204), MISSING, Told(204), error(501, "NotImplemented")
            )
            self.assertEqual(await payloads.remove(["a", "b", "c"]), {})
            methods = [it.method for it in scripted.asked]
            self.assertEqual(methods, ["POST", "DELETE", "DELETE", "DELETE", "GET"])

    async def test_what_is_no_answer(self) -> None:
        for answer in (Told(200, b"<html/>"), Told(200), error(403, "AccessDenied")):
            payloads, _ = await self.answering(answer)
            self.assertEqual({*await payloads.remove(["a", "b"])}, {"a", "b"})

    async def test_parts_of_who_was_killed(self) -> None:
        def listed(*keys: str, more: str = "") -> Told:
            uploads = "".join(
                f"<Upload><Key>{k}</Key><UploadId>u{k}</UploadId></Upload>" for k in keys
            )
            return Told(200, f"<{LIST} xmlns='x'>{uploads}{more}</{LIST}>".encode())

        more = (
            "<IsTruncated>true</IsTruncated><NextKeyMarker>p/b</NextKeyMarker>"
            "<NextUploadIdMarker>m</NextUploadIdMarker>"
        )
        result = Told(200, b"<DeleteResult/>")
        payloads, scripted = await self.answering(
            result, listed("other/a", "p/b", "p/x", more=more), Told(204), listed("p/c"), Told(204)
        )
        self.assertEqual(await payloads.remove(["a", "b", "c"]), {})
        aborted = [it.path for it in scripted.asked if it.method == "DELETE"]
        self.assertEqual(aborted, ["/bucket/p/b?uploadId=up%2Fb", "/bucket/p/c?uploadId=up%2Fc"])
        self.assertIn("key-marker=p%2Fb&upload-id-marker=m", scripted.asked[3].path)


class SilenceTests(ScriptedCase):
    """A store that stands still is noticed."""

    async def stalls(
        self, deferred: Deferred[Any], clock: Clock, seconds: float = PATIENCE
    ) -> None:
        self.assertNoResult(deferred)
        clock.advance(seconds)
        failure = await self.fails(UnavailableError, deferred)
        self.assertIn("nothing moved for 20 seconds", str(failure))

    async def asked(self, scripted: Scripted, number: int) -> None:
        while len(scripted.asked) < number:
            await deferLater(reactor, 0)

    async def test_it_does_not_answer(self) -> None:
        clock = Clock()
        payloads, scripted = await self.answering(None, clock=clock)
        reading = payloads.read_mark()
        await self.asked(scripted, 1)
        clock.advance(PATIENCE - 1)
        await self.stalls(reading, clock, 1)
        self.assertEqual(len(scripted.asked), 1)

    async def test_it_answers_a_part(self) -> None:
        clock = Clock()
        head = Told(200, b"", {"content-length": "10"})
        short = Told(206, b"ab", {"content-range": "bytes 0-9/10", "content-length": "10"})
        payloads, scripted = await self.answering(head, short, clock=clock)
        payload = await payloads.get(KEY)
        reading = payload.read(0, 10)
        await self.asked(scripted, 2)
        await self.stalls(reading, clock)

    async def test_it_takes_no_more(self) -> None:
        clock = Clock()
        early = Told(200, b"", {"content-length": "1"}, is_early=True)
        payloads, scripted = await self.answering(MISSING, early, clock=clock)
        writer = await payloads.create(KEY, 1000 * CHUNK)

        async def write() -> None:
            for _ in range(1000):
                await writer.write([bytes(CHUNK)])

        writing = Deferred.fromCoroutine(write())
        await self.asked(scripted, 2)
        # Time passes whether or not all buffers are full by now.
        while not writing.called:
            clock.advance(1)
            await deferLater(reactor, 0)
        failure = await self.fails(UnavailableError, writing)
        self.assertIn("nothing moved for 20 seconds", str(failure))
        await writer.discard()

    async def test_a_client_that_takes_its_time(self) -> None:
        """That is not the store's fault."""
        clock = Clock()
        size = COLLECTED + 1
        payloads, _ = await self.answering(MISSING, stored_in_chunks, clock=clock)
        writer = await payloads.create(KEY, size)
        for start in range(0, size, CHUNK):
            clock.advance(10 * PATIENCE)
            await writer.write([bytes(min(CHUNK, size - start))])
        clock.advance(10 * PATIENCE)
        await writer.commit()
