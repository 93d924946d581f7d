from __future__ import annotations

import base64
import json
from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from blobman import crypto, protocol
from blobman.crypto.preamble import LEGACY_PREAMBLE_TEXT_SIZE, PREAMBLE_TEXT_SIZE
from blobman.errors import (
    InvalidFlagsError,
)
from blobman.model import Flags
from blobman.protocol import ListQuery, ProtocolError

TAG = bytes(range(16))
TAG_TEXT = "AAECAwQFBgcICQoLDA0ODw=="

names = st.from_regex(r"[A-Za-z0-9_-]{1,254}", fullmatch=True)
tags = st.binary(min_size=16, max_size=16)
sizes = st.integers(0, protocol.MAX_FRAME_SIZE)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
)
bodies = st.binary(max_size=100) | json_values.map(lambda value: json.dumps(value).encode())

# The longest is too deep for every parser.
DEEP = [b"[" * depth + b"]" * depth for depth in (*range(100, 1100, 50), 100_000)]


class ConstantTests(SynchronousTestCase):
    def test_they_agree_with_the_format(self) -> None:
        # The server does not import the crypto layer, so these stand twice.
        self.assertEqual(protocol.TAG_SIZE, crypto.TAG_SIZE)
        self.assertEqual(protocol.PREAMBLE_SIZES, (PREAMBLE_TEXT_SIZE, LEGACY_PREAMBLE_TEXT_SIZE))
        self.assertEqual(protocol.MIN_SEALED_SIZE, LEGACY_PREAMBLE_TEXT_SIZE + 1)
        self.assertEqual(protocol.TAG_TEXT_SIZE, len(TAG_TEXT))


class UrlTests(SynchronousTestCase):
    def test_blob(self) -> None:
        for base in ("https://host/blobs", "https://host/blobs/"):
            self.assertEqual(protocol.blob_url(base, "u", "b"), "https://host/blobs/u/b")
            self.assertEqual(protocol.blob_url(base, "u"), "https://host/blobs/u/")

    def test_fields(self) -> None:
        query = {"namespace": "mail", "order_by": "+date", "deleted": ""}
        url = protocol.blob_url("http://host", "u", query=query)
        self.assertEqual(url, "http://host/u/?namespace=mail&order_by=%2Bdate")

    def test_no_part_gets_out_of_its_place(self) -> None:
        url = protocol.blob_url("http://host/x/", "../u", "a/b?c#d", {"namespace": "a&b=c"})
        self.assertEqual(url, "http://host/x/..%2Fu/a%2Fb%3Fc%23d?namespace=a%26b%3Dc")

    def test_stream(self) -> None:
        for base in ("http://host/stream", "http://host/stream/"):
            self.assertEqual(
                protocol.stream_url(base, "u", "upload"),
                "http://host/stream/u?direction=upload",
            )
            self.assertEqual(
                protocol.stream_url(base, "u", "download", "mail"),
                "http://host/stream/u?direction=download&namespace=mail",
            )


class ListQueryTests(SynchronousTestCase):
    @given(
        st.builds(
            ListQuery,
            st.just("") | names,
            st.none() | st.sampled_from(protocol.ORDERS),
            st.booleans(),
            st.none() | st.sampled_from(Flags),
            st.booleans(),
        )
    )
    def test_there_and_back_through_a_url(self, query: ListQuery) -> None:
        url = protocol.blob_url("http://host", "u", query=query.fields())
        self.assertEqual(ListQuery.from_fields(dict(parse_qsl(urlsplit(url).query))), query)

    def test_a_plus_that_was_not_escaped(self) -> None:
        self.assertEqual(ListQuery.from_fields({"order_by": " date"}).order_by, "+date")

    def test_wrong_values(self) -> None:
        for fields in (
            {"order_by": "size"},
            {"order_by": "date "},
            {"order_by": "+-date"},
            {"filter_flag": "pending"},
            {"filter_flag": "__class__"},
        ):
            error = self.assertRaises(ProtocolError, ListQuery.from_fields, fields)
            self.assertIn(next(iter(fields)), str(error))

    def test_other_fields_are_ignored(self) -> None:
        self.assertEqual(ListQuery.from_fields({"colour": "red"}), ListQuery())

    def test_truth(self) -> None:
        for text in ("True", "true", "1", "yes"):
            self.assertTrue(protocol.is_true(text))
        for false in (None, "", "False", "false", "0"):
            self.assertFalse(protocol.is_true(false))

    def test_check_order(self) -> None:
        for order in (None, "date", "+date", "-date"):
            self.assertEqual(protocol.check_order(order), order)
        self.assertIsNone(protocol.check_order(""))
        for bad in ("size", " date"):
            self.assertIn("order_by", str(self.assertRaises(ValueError, protocol.check_order, bad)))


class AuthorizationTests(SynchronousTestCase):
    @given(names, st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
    def test_there_and_back(self, user: str, token: str) -> None:
        value = protocol.write_authorization(user, token).encode("ascii")
        self.assertEqual(protocol.read_authorization(value), (user, token))

    def test_the_form(self) -> None:
        self.assertEqual(
            protocol.write_authorization("alice", "s3:cret"), "Token YWxpY2U6czM6Y3JldA=="
        )
        for value in (b"token YWxpY2U6eA==", b"TOKEN   YWxpY2U6eA== "):
            self.assertEqual(protocol.read_authorization(value), ("alice", "x"))

    def test_not_one_of_ours(self) -> None:
        for value in (b"", b"Token", b"Token ", b"Basic YWxpY2U6eA==", b"TokenYWxpY2U6eA=="):
            self.assertRaises(ProtocolError, protocol.read_authorization, value)
        for text in (b"", b"alice", b":x", b"alice:", b"\xff:x"):
            value = b"Token " + base64.b64encode(text)
            self.assertRaises(ProtocolError, protocol.read_authorization, value)
        for value in (b"Token YWxpY2U6eA", b"Token YWxp\nY2U6eA==", b"Token \xff\xff\xff\xff"):
            self.assertRaises(ProtocolError, protocol.read_authorization, value)

    @given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda text: b"Token " + text))
    def test_garbage(self, value: bytes) -> None:
        try:
            user, token = protocol.read_authorization(value)
        except ProtocolError:
            return
        self.assertTrue(user and token)


class TagTests(SynchronousTestCase):
    @given(tags)
    def test_there_and_back(self, tag: bytes) -> None:
        self.assertEqual(protocol.read_tag(protocol.write_tag(tag)), tag)

    def test_the_form(self) -> None:
        self.assertEqual(protocol.write_tag(TAG), TAG_TEXT)
        self.assertEqual(protocol.write_tag(b"\xfb\xff\xbf"), "-_-_")

    def test_not_a_tag(self) -> None:
        for bad in (
            "",
            TAG_TEXT[:-2],
            TAG_TEXT + "A",
            TAG_TEXT[:-4],
            "AAAA" + TAG_TEXT,
            TAG_TEXT.replace("w==", "x=="),
            "+/+/" + TAG_TEXT[4:],
            "?" * 24,
            "\u00e9" * 24,
            "A" * 23 + "\n",
        ):
            self.assertRaises(ProtocolError, protocol.read_tag, bad)

    @given(st.text(max_size=30))
    def test_garbage(self, text: str) -> None:
        try:
            tag = protocol.read_tag(text)
        except ProtocolError:
            return
        self.assertEqual(protocol.write_tag(tag), text)


class RangeTests(SynchronousTestCase):
    @given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
    def test_first_and_last(self, first: int, last: int, size: int) -> None:
        wanted = [at for at in range(size) if first <= at <= last]
        if last < first:
            self.assertIsNone(protocol.read_range(f"bytes={first}-{last}", size))
        else:
            self.assertRange(f"bytes={first}-{last}", size, wanted)

    @given(st.integers(0, 30), st.integers(0, 30))
    def test_open_ends(self, number: int, size: int) -> None:
        self.assertRange(f"bytes={number}-", size, list(range(number, size)))
        self.assertRange(f"bytes=-{number}", size, list(range(size))[max(0, size - number) :])

    def assertRange(self, value: str, size: int, wanted: list[int]) -> None:
        if not wanted:
            self.assertRaises(ProtocolError, protocol.read_range, value, size)
            return
        found = protocol.read_range(value, size)
        assert found is not None
        self.assertEqual(list(range(*found)), wanted)

    def test_both_kinds_of_server_are_asked_the_same(self) -> None:
        # To Soledad's server the end is exclusive, so a client asks up to the size.
        self.assertEqual(protocol.read_range("bytes=40-100", 100), (40, 100))

    def test_ignored(self) -> None:
        for value in (
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=1",
            "bytes=0-1,3-4",
            "bytes=--1",
            "bytes=+1-2",
            "items=0-1",
            "bytes=\u0661-",
            "bytes=5-4",
        ):
            self.assertIsNone(protocol.read_range(value, 10), value)

    def test_numbers_of_any_length(self) -> None:
        for huge in ("9" * 21, "9" * 5000):
            self.assertEqual(protocol.read_range(f"bytes=2-{huge}", 10), (2, 10))
            self.assertEqual(protocol.read_range(f"bytes=-{huge}", 10), (0, 10))
            self.assertRaises(ProtocolError, protocol.read_range, f"bytes={huge}-", 10)
        zeros = "0" * 5000
        self.assertEqual(protocol.read_range(f"bytes={zeros}2-{zeros}3", 10), (2, 4))

    def test_case_and_space(self) -> None:
        self.assertEqual(protocol.read_range(" Bytes = 0 - 1 ", 10), (0, 2))

    @given(st.text(max_size=30) | st.text(max_size=30).map(lambda text: "bytes=" + text))
    def test_garbage(self, value: str) -> None:
        try:
            found = protocol.read_range(value, 100)
        except ProtocolError:
            return
        if found is not None:
            self.assertTrue(0 <= found[0] < found[1] <= 100)


class JsonTests(SynchronousTestCase):
    """Each reader gives what it promises, or says so with its error: whatever it is fed."""

    def test_flags(self) -> None:
        for flags in ([], ["PENDING"], [*Flags], ["FAILED", "FAILED"]):
            self.assertEqual(protocol.read_flags(protocol.write_flags(flags)), flags)
        self.assertEqual(protocol.write_flags([Flags.PENDING]), b'["PENDING"]')

    def test_wrong_flags(self) -> None:
        for bad in (["pending"], ["PENDING", ""], [None], [["PENDING"]], "PENDING"):
            self.assertRaises(InvalidFlagsError, protocol.write_flags, bad)
            body = json.dumps(bad).encode()
            self.assertRaises(InvalidFlagsError, protocol.read_flags, body)
        for body in (b"", b"{}", b"null", b'"PENDING"', b"\xff", b'["PENDING"'):
            self.assertRaises(InvalidFlagsError, protocol.read_flags, body)

    def test_a_long_flag_is_not_shown_whole(self) -> None:
        error = self.assertRaises(InvalidFlagsError, protocol.check_flag, "x" * 10_000)
        self.assertLess(len(str(error)), 200)

    @given(st.lists(names, max_size=5))
    def test_ids(self, ids: list[str]) -> None:
        self.assertEqual(protocol.read_ids(json.dumps(ids).encode()), ids)

    def test_wrong_ids(self) -> None:
        for body in (b"", b"{}", b'"a"', b"[1]", b'["a/b"]', b'["a", ""]', b'["\\ud800"]'):
            self.assertRaises(ProtocolError, protocol.read_ids, body)

    def test_count(self) -> None:
        self.assertEqual(protocol.read_count(b'{"count": 42, "more": 1}'), {"count": 42})
        self.assertEqual(protocol.read_count(b'{"count": 0}'), {"count": 0})
        for body in (
            b"",
            b"[]",
            b"42",
            b"{}",
            b'{"count": -1}',
            b'{"count": true}',
            b'{"count": 1.0}',
            b'{"count": "1"}',
        ):
            self.assertRaises(ProtocolError, protocol.read_count, body)

    @given(st.lists(st.tuples(st.text(max_size=10), st.integers(0, 2**70)), max_size=5))
    def test_manifest(self, entries: list[tuple[str, int]]) -> None:
        line = protocol.write_manifest(entries)
        self.assertEqual(line.count(b"\n"), 1)
        self.assertTrue(line.endswith(b"\n"))
        self.assertEqual(protocol.read_manifest(line), entries)

    def test_wrong_manifests(self) -> None:
        for body in (
            b"",
            b"{}",
            b"[1]",
            b'[["a"]]',
            b'[["a", -1]]',
            b'[["a", true]]',
            b'[["a", 1.0]]',
            b'[["a", 1, 2]]',
            b'[[1, "a"]]',
            b'[["a", 1], null]',
        ):
            self.assertRaises(ProtocolError, protocol.read_manifest, body)

    @given(bodies)
    def test_garbage(self, body: bytes) -> None:
        self.feed_all(body)

    def test_depth(self) -> None:
        for body in DEEP:
            self.feed_all(body)

    def test_a_number_too_long_to_be_read(self) -> None:
        self.feed_all(b"[" + b"9" * 5000 + b"]")
        self.feed_all(b'[["a", ' + b"9" * 5000 + b"]]")

    def feed_all(self, body: bytes) -> None:
        readers: list[tuple[Callable[[bytes], object], type[Exception], type]] = [
            (protocol.read_flags, InvalidFlagsError, list),
            (protocol.read_ids, ProtocolError, list),
            (protocol.read_count, ProtocolError, dict),
            (protocol.read_manifest, ProtocolError, list),
        ]
        for read, error, kind in readers:
            try:
                found = read(body)
            except error:
                continue
            self.assertIsInstance(found, kind)


class RetryAfterTests(SynchronousTestCase):
    def test_read_retry_after(self) -> None:
        self.assertEqual(protocol.read_retry_after(" 0 "), 0.0)
        for bad in (
            None,
            "",
            "-1",
            "1.5",
            "3\x1d",
            "\u20033",
            "9" * 10,
            "\u0661",
            "Wed, 21 Oct 2015 07:28:00 GMT",
        ):
            self.assertIsNone(protocol.read_retry_after(bad))

    @given(st.text(max_size=12) | st.from_regex(r"\s*\d+\s*", fullmatch=True))
    def test_garbage(self, value: str) -> None:
        seconds = protocol.read_retry_after(value)
        self.assertTrue(seconds is None or seconds >= 0)


class FrameTests(SynchronousTestCase):
    @given(sizes, tags)
    def test_there_and_back(self, size: int, tag: bytes) -> None:
        header = protocol.write_frame_header(size, tag)
        self.assertEqual(len(header), protocol.FRAME_HEADER_SIZE)
        self.assertEqual(protocol.read_frame_header(header), (size, tag))

    def test_the_form(self) -> None:
        self.assertEqual(
            protocol.write_frame_header(753, TAG), b"000002f1" + TAG_TEXT.encode() + b" "
        )

    def test_what_does_not_fit(self) -> None:
        for size, tag in ((2**32, TAG), (-1, TAG), (1, TAG[:-1]), (1, TAG + b"x")):
            self.assertRaises(ValueError, protocol.write_frame_header, size, tag)

    def test_not_a_frame(self) -> None:
        good = protocol.write_frame_header(753, TAG)
        for at in range(len(good)):
            self.assertRaises(ProtocolError, protocol.read_frame_header, good[:at])
            damaged = good[:at] + b"!" + good[at + 1 :]
            self.assertRaises(ProtocolError, protocol.read_frame_header, damaged)
        for bad in (good + b" ", b" " + good, good.upper(), b"0x0002f1" + good[8:], b""):
            self.assertRaises(ProtocolError, protocol.read_frame_header, bad)

    @given(st.binary(max_size=40))
    def test_garbage(self, header: bytes) -> None:
        self.assertRaises(ProtocolError, protocol.read_frame_header, header)
