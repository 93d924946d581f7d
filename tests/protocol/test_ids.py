"""Lists of ids, read as they come."""

from __future__ import annotations

import json
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from blobman.model import is_name
from blobman.protocol import IdsReader, ProtocolError, read_ids

MB = 1024 * 1024

names = st.from_regex(r"[A-Za-z0-9_-]{1,254}", fullmatch=True)
spaces = st.text(" \t\n\r", max_size=3)


@st.composite
def lists(draw: st.DrawFn) -> bytes:
    """Lists with space wherever it may be."""
    ids = draw(st.lists(names, max_size=6))
    items = [f'{draw(spaces)}"{blob_id}"{draw(spaces)}' for blob_id in ids]
    inner = ",".join(items) or draw(spaces)
    return f"{draw(spaces)}[{inner}]{draw(spaces)}".encode()


# What lists are made of, in any order.
pieces = st.lists(
    st.sampled_from(
        [b"[", b"]", b",", b'"', b'"a"', b'"b-C_9"', b" ", b"\n", b"{}", b"1", b"null"]
    ),
    max_size=8,
).map(b"".join)


def expected(body: bytes) -> list[str] | None:
    """What a JSON parser makes of it; None if it is no list of names."""
    try:
        value = json.loads(body.decode("utf-8"))
    except ValueError:
        return None
    is_list = isinstance(value, list) and all(isinstance(it, str) and is_name(it) for it in value)
    return value if is_list else None


def read(body: bytes, step: int) -> list[str] | None:
    reader = IdsReader()
    try:
        for start in range(0, len(body), step):
            reader.feed(body[start : start + step])
        return reader.finish()
    except ProtocolError:
        return None


class IdsReaderTests(SynchronousTestCase):
    @given(lists() | pieces, st.integers(1, 300))
    def test_as_a_json_parser_reads_it(self, body: bytes, step: int) -> None:
        self.assertEqual(read(body, step), expected(body))

    @given(lists() | pieces)
    def test_byte_by_byte(self, body: bytes) -> None:
        self.assertEqual(read(body, 1), expected(body))

    @given(lists(), st.integers(0, 10**6))
    def test_cut(self, body: bytes, at: int) -> None:
        whole = body.rstrip()
        self.assertIsNone(read(whole[: at % len(whole)], 7))

    @given(lists(), st.binary(min_size=1, max_size=5))
    def test_what_follows(self, body: bytes, rest: bytes) -> None:
        self.assertEqual(read(body + rest, 7), expected(body + rest))

    def test_names(self) -> None:
        for name in ("", "x" * 255, "a/b", "\u00e9", "\u0661", "a b", "a\\u0062", "a\\n"):
            for body in (f'["{name}"]', f'["a", "{name}", "b"]'):
                for step in (1, 50, 1000):
                    self.assertIsNone(read(body.encode(), step), name)
        self.assertEqual(read_ids(b'["%s"]' % (b"x" * 254)), ["x" * 254])

    def test_a_long_name_does_not_have_to_end(self) -> None:
        reader = IdsReader()
        reader.feed(b'["a", "' + b"x" * 250)
        self.assertRaises(ProtocolError, reader.feed, b"y" * 10)

    def test_what_is_wrong_is_not_shown_whole(self) -> None:
        error = self.assertRaises(ProtocolError, read_ids, b'["a", "' + b"/" * 10_000 + b'"]')
        self.assertLess(len(str(error)), 100)

    def test_limits(self) -> None:
        ids = ["x", "y", "z"]
        body = json.dumps(ids).encode()
        for step in (1, 100):
            for reader, text in (
                (IdsReader(max_ids=2), "more than 2 ids"),
                (IdsReader(max_size=len(body) - 1), f"longer than {len(body) - 1} bytes"),
            ):
                with self.assertRaises(ProtocolError) as caught:
                    for start in range(0, len(body), step):
                        reader.feed(body[start : start + step])
                self.assertIn(text, str(caught.exception))
        reader = IdsReader(max_size=len(body), max_ids=3)
        reader.feed(body)
        self.assertEqual(reader.finish(), ids)

    def test_a_million_ids_are_too_many(self) -> None:
        reader = IdsReader()
        reader.feed(b"[")
        with self.assertRaises(ProtocolError) as caught:
            for _ in range(1000):
                reader.feed(b'"a",' * 1000)
        self.assertIn("more than 900000 ids", str(caught.exception))

    def test_100_000_ids(self) -> None:
        ids = [f"{number:032x}" for number in range(100_000)]
        self.assertEqual(read(json.dumps(ids).encode(), 256 * 1024), ids)

    def test_memory(self) -> None:
        for body in (b"[" + b"[]," * MB, b"[" + b"{}," * MB, b"[" + b" " * 4 * MB):
            reader = IdsReader()
            tracemalloc.start()
            try:
                for start in range(0, len(body), 256 * 1024):
                    reader.feed(body[start : start + 256 * 1024])
            except ProtocolError:
                pass
            finally:
                _, peak = tracemalloc.get_traced_memory()
                tracemalloc.stop()
            self.assertLess(peak, MB)
