"""The feed on the wire: query fields, cursors and answers."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from blobman.model import FIRST_CURSOR, ChangesPage, Flags, RemoteChange
from blobman.protocol import (
    MAX_CHANGES,
    MAX_CURSOR_SIZE,
    MAX_WAIT,
    ChangesQuery,
    Cursor,
    ObjectReader,
    ProtocolError,
    read_ids,
    read_namespaces,
    read_page,
    write_ids,
    write_namespaces,
    write_page,
    write_tag,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "changes.json").read_text())

names = st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True) | st.just("x" * 254)
numbers = st.integers(0, 2**63 - 1)
flags = st.lists(st.sampled_from(Flags), max_size=5, unique=True).map(tuple)
present = st.builds(
    RemoteChange, names, st.binary(min_size=16, max_size=16), numbers, numbers, flags
)
changes = present | names.map(RemoteChange)
opaque = (st.from_regex(r"[!-~]{1,12}", fullmatch=True) | st.just("~" * MAX_CURSOR_SIZE)).filter(
    lambda it: it not in (FIRST_CURSOR, "before")
)
pages = st.builds(
    ChangesPage,
    st.lists(changes, max_size=5, unique_by=lambda it: it.blob_id),
    opaque,
    st.booleans(),
)
queries = st.builds(
    ChangesQuery, opaque, st.just("") | names, st.integers(1, MAX_CHANGES), st.integers(0, MAX_WAIT)
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=8), inner),
)


def read_in_steps(body: bytes, step: int, max_size: int = 10_000) -> bytes | list[str]:
    reader = ObjectReader(max_size)
    for start in range(0, len(body), step):
        reader.feed(body[start : start + step])
    return reader.finish()


class VectorTests(SynchronousTestCase):
    """What another implementation can be held against."""

    def test_queries(self) -> None:
        for vector in VECTORS["queries"]:
            query = ChangesQuery.from_fields(vector["fields"])
            assert query is not None
            expected = vector["asks"]
            self.assertEqual({name: getattr(query, name) for name in expected}, expected)

    def test_queries_that_are_refused(self) -> None:
        for fields in VECTORS["refused queries"]:
            self.assertRaises(ProtocolError, ChangesQuery.from_fields, fields)

    def test_answers(self) -> None:
        for vector in VECTORS["answers"]:
            body = vector["body"].encode("ascii")
            page = read_page(body, ChangesQuery("before"))
            shown = [
                [it.blob_id, it.tag and it.tag.hex(), it.size, it.date, [*it.flags]]
                for it in page.changes
            ]
            self.assertEqual(shown, vector["changes"])
            self.assertEqual([page.cursor, page.more], [vector["cursor"], vector["more"]])
            self.assertEqual(write_page(page), body)

    def test_answers_that_are_none(self) -> None:
        for body in VECTORS["refused answers"]:
            with self.assertRaises(ProtocolError, msg=body):
                read_page(body.encode("utf-8"), ChangesQuery("before", limit=2))

    def test_namespaces(self) -> None:
        for body, expected in VECTORS["namespaces"]:
            self.assertEqual(read_namespaces(body.encode("ascii")), expected)
        for body in VECTORS["refused namespaces"]:
            with self.assertRaises(ProtocolError, msg=body):
                read_namespaces(body.encode("ascii"))


class QueryTests(SynchronousTestCase):
    @given(queries)
    def test_round_trip(self, query: ChangesQuery) -> None:
        fields = {name: value for name, value in query.fields().items() if value}
        self.assertEqual(ChangesQuery.from_fields(fields), query)

    def test_other_questions(self) -> None:
        for fields in ({}, {"order_by": "date"}, {"limit": "x", "wait": "x"}):
            self.assertIsNone(ChangesQuery.from_fields(fields))

    @given(st.dictionaries(st.sampled_from(["limit", "wait"]), st.text(max_size=12)))
    def test_any_numbers(self, fields: dict[str, str]) -> None:
        try:
            query = ChangesQuery.from_fields({"changes": "start", **fields})
        except ProtocolError:
            return
        assert query is not None
        self.assertTrue(1 <= query.limit <= MAX_CHANGES)
        self.assertTrue(0 <= query.wait <= MAX_WAIT)


class CursorTests(SynchronousTestCase):
    @given(
        st.from_regex(r"[A-Za-z0-9_-]{1,100}", fullmatch=True),
        st.integers(0, 10**18 - 1),
        st.integers(0, 10**18 - 1),
    )
    def test_round_trip(self, generation: str, number: int, began: int) -> None:
        text = Cursor(generation, number, began).write()
        self.assertLessEqual(len(text), MAX_CURSOR_SIZE)
        # What has been passed is not remembered.
        self.assertEqual(
            Cursor.read(text), Cursor(generation, number, began if began > number else 0)
        )

    def test_what_is_none(self) -> None:
        for text in (
            *("", "start", "x", "g.", ".1", "g.-1", "g.01", "g.1.2.3", "g.1.", "g.1\n"),
            *("g.\N{ARABIC-INDIC DIGIT ONE}", "g h.1", f"g.{10**18}", f"{'g' * 101}.1"),
        ):
            self.assertRaises(ProtocolError, Cursor.read, text)


class PageTests(SynchronousTestCase):
    @given(pages, st.integers(1, 50))
    def test_round_trip(self, page: ChangesPage, step: int) -> None:
        body = read_in_steps(write_page(page), step)
        assert isinstance(body, bytes)
        self.assertEqual(read_page(body, ChangesQuery("before")), page)

    @given(pages, st.data())
    def test_cut_short(self, page: ChangesPage, data: st.DataObject) -> None:
        body = write_page(page)
        end = data.draw(st.integers(0, len(body) - 1))
        self.assertRaises(ProtocolError, read_page, body[:end], ChangesQuery())

    @given(st.binary(max_size=60) | json_values.map(lambda it: json.dumps(it).encode()))
    def test_garbage(self, body: bytes) -> None:
        for read in (lambda it: read_page(it, ChangesQuery()), read_namespaces):
            self.assertRaises(ProtocolError, read, body)

    @given(pages, json_values, st.data())
    def test_one_value_of_another_kind(
        self, page: ChangesPage, value: Any, data: st.DataObject
    ) -> None:
        """An answer is refused, or as good as one that could be written."""
        answer = json.loads(write_page(page))
        places: list[tuple[Any, Any]] = [(answer, name) for name in answer]
        places += [(item, at) for item in answer["changes"] for at in range(len(item))]
        where, name = data.draw(st.sampled_from(places))
        where[name] = value
        body = json.dumps(answer).encode()
        try:
            read = read_page(body, ChangesQuery("before"))
        except ProtocolError:
            return
        self.assertEqual(json.loads(write_page(read)), json.loads(body))

    def test_more_than_was_asked_for(self) -> None:
        page = ChangesPage([RemoteChange(name) for name in "abc"], "c", False)
        query = ChangesQuery("before", limit=3)
        self.assertEqual(read_page(write_page(page), query), page)
        with self.assertRaises(ProtocolError):
            read_page(write_page(page), replace(query, limit=2))

    def test_flags_that_are_repeated(self) -> None:
        tag = base64.urlsafe_b64encode(bytes(16)).decode()
        repeated = ["FAILED", *["PENDING"] * 1000, "FAILED"]
        change = ["a", tag, 800, 1, repeated]
        body = json.dumps({"changes": [change], "cursor": "c", "more": False}).encode()
        page = read_page(body, ChangesQuery())
        self.assertEqual(page.changes[0].flags, (Flags.FAILED, Flags.PENDING))

    def test_more_without_an_end(self) -> None:
        body = write_page(ChangesPage([], "before", True))
        self.assertRaises(ProtocolError, read_page, body, ChangesQuery("before"))
        read_page(body, ChangesQuery("other"))

    def test_what_is_not_known_yet(self) -> None:
        body = b'{"changes": [], "cursor": "c", "more": false, "new": {"x": [1]}}'
        self.assertEqual(read_page(body, ChangesQuery()), ChangesPage([], "c", False))


class ObjectReaderTests(SynchronousTestCase):
    @given(st.lists(names, max_size=5), st.integers(1, 50), st.text(" \r\n\t", max_size=3))
    def test_a_list_of_an_older_server(self, ids: list[str], step: int, space: str) -> None:
        body = space.encode() + write_ids(ids)
        self.assertEqual(read_in_steps(body, step), read_ids(body))

    def test_a_list_that_is_cut_or_none(self) -> None:
        for body in (b"[", b'["a"', b'["a",', b"[1]", b'["a"]]', b"[[]]"):
            for step in (1, 100):
                self.assertRaises(ProtocolError, read_in_steps, body, step)

    def test_sizes(self) -> None:
        self.assertEqual(read_in_steps(b"{" * 10, 3, 10), b"{" * 10)
        self.assertRaises(ProtocolError, read_in_steps, b"{" * 11, 3, 10)
        # A list has another limit.
        ids = [str(number) for number in range(100)]
        self.assertEqual(read_in_steps(write_ids(ids), 7, 10), ids)


class NamespacesTests(SynchronousTestCase):
    @given(st.dictionaries(names, st.integers(0, 10**15), max_size=5))
    def test_round_trip(self, counts: dict[str, int]) -> None:
        body = b'{"namespaces": {' + write_namespaces(counts) + b"}}"
        expected = {"" if name == "default" else name: it for name, it in counts.items()}
        self.assertEqual(read_namespaces(body), expected)

    def test_tags_are_as_everywhere(self) -> None:
        page = write_page(ChangesPage([RemoteChange("a", b"\xfb" * 16)], "c", False))
        self.assertIn(write_tag(b"\xfb" * 16).encode(), page)
