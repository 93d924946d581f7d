"""Whose word an answer is, and what it says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from blobman.errors import (
    BlobAlreadyExistsError,
    BlobError,
    BlobNotFoundError,
    CursorExpiredError,
    InvalidFlagsError,
    QuotaExceededError,
    RetriableTransferError,
    ServerError,
    UnauthorizedError,
)
from blobman.protocol import (
    ANSWER_HEADER,
    REFUSALS,
    Answer,
    Subject,
    answer_error,
    strange_answer,
    what_came,
)

PUT = Subject("put", "b", "mail")
HTML = b"<html><body>Please log in</body></html>"
CHALLENGE = {"www-authenticate": "token"}
REALM = {"www-authenticate": 'Token realm="blobs"'}

# What Soledad's server answers, to the letter; and ours, before it had a header for it.
WORDS: list[tuple[int, bytes, dict[str, str], type[BlobError]]] = [
    (401, b"Unauthorized", CHALLENGE, UnauthorizedError),
    (
        401,
        b"a valid token is needed\n",
        {"www-authenticate": 'Token realm="blobs"'},
        UnauthorizedError,
    ),
    (403, b"this is another user's\n", {}, UnauthorizedError),
    (404, b"Blob doesn't exist: b", {}, BlobNotFoundError),
    (404, b"no such blob\n", {}, BlobNotFoundError),
    (406, b"Invalid flag: SHINY", {}, InvalidFlagsError),
    (406, b"not a JSON list of PENDING, PROCESSING, PROCESSED, FAILED\n", {}, InvalidFlagsError),
    (409, b"Blob already exists: b", {}, BlobAlreadyExistsError),
    (409, b"there is a blob of that name\n", {}, BlobAlreadyExistsError),
    (410, b"the cursor is of another history\n", {}, CursorExpiredError),
    (507, b"", {}, QuotaExceededError),
    (507, b"the user's space is used up\n", {}, QuotaExceededError),
]

PASSING = {408, 425, 429, *range(500, 600)} - {501, 505, 506, 507, 508, 510, 511}


def error_of(status: int, body: bytes = b"", **headers: str) -> BlobError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return answer_error(Answer(status, named, body), PUT)


class WordOfAServerTests(SynchronousTestCase):
    def test_bodies(self) -> None:
        for status, body, headers, kind in WORDS:
            error = answer_error(Answer(status, headers, body), PUT)
            self.assertIs(type(error), kind, body)
            self.assertIn("put blob 'b' in namespace 'mail'", str(error))
            self.assertIn(f"({status})", str(error))

    def test_the_header_of_ours(self) -> None:
        for refused in REFUSALS:
            error = error_of(refused.status, b"in other words", blobs_answer=refused.word)
            self.assertIs(type(error), refused.error)
        self.assertEqual(ANSWER_HEADER, "Blobs-Answer")

    def test_the_same_words_with_another_status(self) -> None:
        for status, body, headers, kind in WORDS:
            for other in {*range(300, 600)} - {status, 507}:
                error = answer_error(Answer(other, headers, body), PUT)
                self.assertIsNot(type(error), kind, (other, body))

    def test_a_refusal_of_ours_that_has_no_word(self) -> None:
        # No such place, as with a wrong URL: that is not "no such blob".
        for status in (400, 404, 405, 409, 411, 413):
            error = error_of(status, b"no such place\n", blobs_answer="refused")
            assert isinstance(error, ServerError)
            self.assertEqual((error.code, error.may_pass), (status, False))


class WordOfAStrangerTests(SynchronousTestCase):
    def test_every_status(self) -> None:
        for body in (HTML, b"no such page"):
            for status in range(100, 1000):
                error = error_of(status, body)
                if status in PASSING:
                    self.assertIs(type(error), RetriableTransferError, status)
                elif (status, body) == (507, b"no such page"):
                    self.assertIs(type(error), QuotaExceededError)
                else:
                    assert type(error) is ServerError, status
                    self.assertEqual((error.code, error.may_pass), (status, status != 413))
                self.assertIn(str(status), str(error))
                self.assertNotIn("log in", str(error))

    def test_nearly_the_words_of_a_server(self) -> None:
        for status, body in (
            (401, b"Unauthorized"),
            (404, b"Blob doesn't exist: c"),
            (404, b"Blob doesn't exist"),
            (404, HTML + b"no such blob\n"),
            (409, b"Blob already exists: c"),
            (409, b""),
            (507, b" \n" + HTML),
        ):
            self.assertIs(type(error_of(status, body)), ServerError, body)
        basic = error_of(401, b"Unauthorized", www_authenticate='Basic realm="Token"')
        self.assertIs(type(basic), ServerError)

    def test_html_is_named(self) -> None:
        self.assertEqual(
            str(error_of(418, HTML)),
            "put blob 'b' in namespace 'mail': HTML instead of the server's answer (418): "
            "a login page or a proxy?",
        )

    def test_a_wrong_url(self) -> None:
        error = answer_error(Answer(404, {}, HTML), Subject("list"))
        self.assertIs(type(error), ServerError)
        self.assertIn("list: there is nothing at that URL (404); check it", str(error))
        self.assertIn("https://host/blobs/", str(error))

    def test_a_redirect(self) -> None:
        for location, place in (
            ("https://portal.example:8443/login", "'https://portal.example:8443/login'"),
            ("//portal/login", "'//portal/login'"),
            ("/login", "'/login'"),
            ("https://me:hush@portal/?hush#hush", "'https://portal/'"),
            ("https://[portal", "a place that is no URL"),
            ("/\x1b[31m", r"'/\x1b[31m'"),
            ("/" + "x" * 10_000, f"'/{'x' * 199}'"),
        ):
            text = str(error_of(302, location=location))
            self.assertIn(f"a redirect (302) to {place}, which is not followed", text)
            self.assertNotIn("hush", text)
        self.assertTrue(str(error_of(304)).endswith("the server answered 304"))

    def test_bodies_that_are_too_long(self) -> None:
        self.assertIn("something between here and the server", str(error_of(413, HTML)))
        self.assertIn("the server takes no body", str(error_of(413, blobs_answer="refused")))

    def test_retry_after(self) -> None:
        error = error_of(503, retry_after="120")
        assert isinstance(error, RetriableTransferError)
        self.assertEqual(error.retry_after, 120.0)


class StrangeSuccessTests(SynchronousTestCase):
    def test_what_came(self) -> None:
        for body, name in (
            (b"", "nothing"),
            (b" \r\n", "nothing"),
            (HTML, "HTML"),
            (b"\xef\xbb\xbf \n<!DOCTYPE html>", "HTML"),
            (b'{"a": 1}', "something else"),
            (b"\xff\xfe", "something else"),
        ):
            self.assertEqual(what_came(body), name)

    def test_messages(self) -> None:
        subject = Subject("list")
        for body, text in (
            (HTML, "list: HTML instead of a list (200): a login page or a proxy?"),
            (b"{}", "list: something else instead of a list (200): it is none"),
        ):
            error = strange_answer(Answer(200, {}, body), subject, "a list", "it is none")
            self.assertEqual((str(error), error.code, error.may_pass), (text, 200, True))
        error = strange_answer(Answer(200), subject, "a list")
        self.assertEqual(
            str(error), "list: nothing instead of a list (200): a login page or a proxy?"
        )

    @given(
        st.integers(100, 999),
        st.dictionaries(
            st.sampled_from(["location", "retry-after", "www-authenticate", "blobs-answer"]),
            st.text(max_size=20),
        ),
        st.binary(max_size=60),
    )
    def test_anything_is_some_error(
        self, status: int, headers: dict[str, str], body: bytes
    ) -> None:
        answer = Answer(status, headers, body)
        self.assertIsInstance(answer_error(answer, PUT), BlobError)
        self.assertIsInstance(strange_answer(answer, PUT, "a list"), ServerError)
