"""The feed over HTTP: what is refused, pages, and requests that wait."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from blobman.model import Flags
from blobman.protocol import MAX_CHANGES, ChangesQuery, read_page, write_tag
from blobman.server.accounts.admission import Admission, TooMuchAtOnceError
from blobman.server.http import changes as module
from blobman.server.http.limits import Limits

from ..blobs import name, sealed
from ..serving import Answer, ServerMixin
from .test_site import SiteCase

LIST = "blobs/alice/"


class ChangesTests(ServerMixin, TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await self.start_server()

    async def put(self, *ids: str, namespace: str = "default") -> None:
        blobs = [(name(it, namespace=namespace), sealed(it)) for it in ids]
        self.assertEqual(await self.backend.store(blobs), [None] * len(ids))

    async def page(self, cursor: str = "start", **fields: object) -> Any:
        """Ask for a page; give the JSON."""
        query = "&".join(f"{field}={value}" for field, value in fields.items())
        answer = await self.expect(200, "GET", f"{LIST}?changes={cursor}&{query}")
        self.assertEqual(answer.header("Content-Type"), "application/json")
        read_page(answer.body, ChangesQuery("before", limit=MAX_CHANGES))
        return answer.json()

    async def test_to_the_letter(self) -> None:
        await self.put("id1", "id2")
        cursor = (await self.page())["cursor"]
        await self.expect(200, "POST", f"{LIST}id1", b'["PENDING"]')
        await self.expect(200, "DELETE", f"{LIST}id2")
        answer = await self.expect(200, "GET", f"{LIST}?changes={cursor}")
        tag = write_tag(sealed("id1")[-16:])
        date = answer.json()["changes"][0][3]
        after = answer.json()["cursor"]
        self.assertEqual(
            answer.body.decode(),
            f'{{"changes": [["id1", "{tag}", 800, {date}, ["PENDING"]], '
            f'["id2"]], "cursor": "{after}", "more": false}}',
        )
        self.assertEqual(answer.header("Blobs-Answer"), "done")
        self.assertEqual(answer.length, len(answer.body))

    async def test_what_is_refused(self) -> None:
        for query in (
            "changes=", "changes=x", "changes=g.1.2.3", f"changes={'g' * 300}.1", "changes=%ff",
            "changes=start&limit=0", "changes=start&limit=-1", "changes=start&limit=x",
            "changes=start&wait=61", "changes=start&wait=-1", "changes=start&wait=1.5",
            "changes=start&order_by=date", "changes=start&deleted=True",
            "changes=start&filter_flag=FAILED", "changes=start&only_count=True",
            "changes=start&namespaces=True", "changes=start&namespace=..",
        ):  # fmt: skip
            await self.expect(400, "GET", f"{LIST}?{query}")
        answer = await self.expect(410, "GET", f"{LIST}?changes=other.1")
        self.assertEqual(answer.header("Blobs-Answer"), "cursor-expired")
        self.assertEqual(answer.body, b"the cursor is of another history\n")
        await self.expect(403, "GET", f"{LIST}?changes=start", user="bob")
        await self.expect(401, "GET", f"{LIST}?changes=start", token="wrong")

    async def test_pages(self) -> None:
        await self.put(*"abcde")
        for limit in (1, 2, 5, 6, MAX_CHANGES, 999_999_999):
            page = await self.page(limit=limit)
            ids = [it[0] for it in page["changes"]]
            while page["more"]:
                page = await self.page(page["cursor"], limit=limit)
                ids += [it[0] for it in page["changes"]]
            self.assertEqual(ids, [*"abcde"], limit)
        self.assertEqual((await self.page(namespace="mail"))["changes"], [])

    async def test_long_answers(self) -> None:
        ids = [f"{number:04}" for number in range(2500)]
        await self.put(*ids)
        page = await self.page(limit=2400)
        self.assertEqual([it[0] for it in page["changes"]], ids[:2400])
        self.assertTrue(page["more"])
        # As many as are read at once, if no more bytes are to come.
        self.patch(module, "ENOUGH", 1)
        page = await self.page(limit=2400)
        self.assertEqual([it[0] for it in page["changes"]], ids[:1000])
        self.assertTrue(page["more"])
        page = await self.page(page["cursor"], limit=10)
        self.assertEqual(page["changes"][0][0], "1000")

    async def test_head(self) -> None:
        await self.put(*[str(number) for number in range(1001)])
        for limit in (1, 1001):
            answer = await self.expect(200, "HEAD", f"{LIST}?changes=start&limit={limit}")
            self.assertEqual(answer.body, b"")

    async def test_namespaces(self) -> None:
        answer = await self.expect(200, "GET", f"{LIST}?namespaces=True")
        self.assertEqual(answer.body, b'{"namespaces": {}}')
        await self.put("a", "b")
        await self.put("a", namespace="mail")
        answer = await self.expect(200, "GET", f"{LIST}?namespaces=True")
        self.assertEqual(answer.body, b'{"namespaces": {"default": 2, "mail": 1}}')
        await self.backend.store([(name("a", namespace=f"n{it}"), sealed()) for it in range(2100)])
        answer = await self.expect(200, "GET", f"{LIST}?namespaces=True")
        self.assertEqual(len(answer.json()["namespaces"]), 2102)
        answer = await self.expect(200, "GET", f"{LIST}?namespaces=False")
        self.assertEqual(answer.json(), ["a", "b"])

    async def test_a_change_ends_the_wait(self) -> None:
        cursor = (await self.page())["cursor"]
        waiting = Deferred.fromCoroutine(self.page(cursor, wait=60))
        await self.put("a")
        page = await waiting
        self.assertEqual([it[0] for it in page["changes"]], ["a"])
        # What is there already is not waited for.
        self.assertEqual(await self.page(cursor, wait=60), page)

    async def test_the_end_of_the_server_ends_the_wait(self) -> None:
        cursor = (await self.page())["cursor"]
        waiting = Deferred.fromCoroutine(self.ask("GET", f"{LIST}?changes={cursor}&wait=60"))
        while not self.site.waiting.number:
            await self.page(cursor)
        ended = self.site.end_connections(60.0)
        answer: Answer = await waiting
        self.assertEqual((answer.code, answer.json()["changes"]), (200, []))
        await ended


class WaitingCase(SiteCase):
    """With a clock, and connections that are not real."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.assert_nothing_is_left)
        wire = self.ask("changes=start")
        self.cursor: str = self.page_on(wire)["cursor"]

    def assert_nothing_is_left(self) -> None:
        self.assertEqual(self.site.waiting.number, 0)
        self.assertEqual(self.backend.catalogue.waking.number, 0)  # type: ignore[attr-defined]

    def ask(self, query: str) -> Any:
        protocol, wire = self.connect()
        protocol.dataReceived(self.get(f"/blobs/alice/?{query}".encode()))
        return wire

    def wait(self, seconds: int = 30, fields: str = "") -> Any:
        return self.ask(f"changes={self.cursor}&wait={seconds}{fields}")

    def page_on(self, wire: Any) -> Any:
        """Give the answer, and close the connection."""
        head, _, body = wire.value().partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 200"), head)
        wire.loseConnection()
        return json.loads(body)

    def put(self, blob_id: str, namespace: str = "default") -> None:
        blob = name(blob_id, namespace=namespace), sealed(blob_id)
        self.assertEqual(self.successResultOf(self.backend.store([blob])), [None])


class WaitingTests(WaitingCase):
    limits = Limits(idle=10, requests=2)

    def test_the_time_passes(self) -> None:
        wire = self.wait(30)
        self.clock.advance(29)
        self.assertEqual(wire.value(), b"")
        self.clock.advance(1)
        page = self.page_on(wire)
        self.assertEqual(page, {"changes": [], "cursor": self.cursor, "more": False})

    def test_longer_than_a_connection_may_be_idle(self) -> None:
        wire = self.wait(60)
        self.clock.pump([1] * 59)
        self.assertFalse(wire.disconnecting)
        self.put("a")
        self.assertEqual(len(self.page_on(wire)["changes"]), 1)

    def test_each_kind_of_change(self) -> None:
        for change in (
            lambda: self.put("a"),
            lambda: self.successResultOf(self.backend.set_flags(name("a"), [Flags.FAILED])),
            lambda: self.successResultOf(self.backend.delete(name("a"))),
        ):
            wire = self.wait()
            self.put("x", "mail")
            self.assertEqual(wire.value(), b"")
            self.successResultOf(self.backend.delete(name("x", namespace="mail")))
            change()
            page = self.page_on(wire)
            self.assertEqual([it[0] for it in page["changes"]], ["a"])
            self.cursor = page["cursor"]

    def test_a_client_that_goes_away(self) -> None:
        wire = self.wait()
        self.assertEqual(self.site.waiting.number, 1)
        wire.loseConnection()
        self.assert_nothing_is_left()
        self.assertEqual(self.reports[-1].code, 499)
        self.put("a")

    def test_waiting_is_no_time_that_answering_takes(self) -> None:
        wires = [self.wait(30), self.wait(30)]
        self.clock.advance(20)
        wires[0].loseConnection()
        self.clock.advance(10)
        self.page_on(wires[1])
        self.assertEqual([it.seconds for it in self.reports[-2:]], [0.0, 0.0])

    def test_many_of_one_user(self) -> None:
        most = self.limits.waiting
        self.assertEqual(most, 8)
        wires = [self.wait(seconds) for seconds in range(30, 30 + most)]
        last = self.wait(60)
        self.assertEqual(self.page_on(wires[0])["changes"], [])
        self.assertEqual([wire.value() for wire in wires[1:]], [b""] * (most - 1))
        self.put("a")
        for wire in [*wires[1:], last]:
            self.assertEqual(len(self.page_on(wire)["changes"]), 1)

    def test_others_are_not_kept_from_anything(self) -> None:
        """A request that waits takes no place among those that are served."""
        self.assertLess(self.limits.requests, self.limits.waiting)
        wires = [self.wait() for _ in range(self.limits.waiting)]
        self.assertEqual(self.page_on(self.ask("changes=start"))["changes"], [])
        self.put("a")
        for wire in wires:
            self.assertEqual(len(self.page_on(wire)["changes"]), 1)

    def test_the_end(self) -> None:
        wires = [self.wait() for _ in range(3)]
        ended = self.site.end_connections(10.0)
        for wire in wires:
            self.assertEqual(json.loads(wire.value().partition(b"\r\n\r\n")[2])["changes"], [])
            self.assertTrue(wire.disconnecting)
        self.successResultOf(ended)
        # Also of one that comes late, and until there is another beginning.
        self.page_on(self.wait())
        self.site.startFactory()
        wire = self.wait()
        self.assertEqual(wire.value(), b"")
        wire.loseConnection()

    def test_the_end_of_the_storage(self) -> None:
        wire = self.wait()
        self.successResultOf(self.backend.close())
        self.assertIn(b"HTTP/1.1 503", wire.value())
        wire.loseConnection()


class CrowdTests(WaitingCase):
    """There is always a connection for those who do not wait for changes."""

    limits = Limits(connections=5)

    def test_more_than_may_wait(self) -> None:
        wires = [self.wait(60) for _ in range(5)]
        self.assertIn(b"\r\nConnection: close\r\n", wires[0].value())
        self.assertTrue(wires[0].disconnecting)
        self.assertEqual(self.page_on(wires[0])["changes"], [])
        self.assertEqual([wire.value() for wire in wires[1:]], [b""] * 4)
        self.put("a")
        self.assertEqual(len(self.page_on(self.ask("changes=start"))["changes"]), 1)
        for wire in wires[1:]:
            self.assertFalse(wire.disconnecting)
            self.assertEqual(len(self.page_on(wire)["changes"]), 1)

    def test_not_more_than_may_wait(self) -> None:
        wires = [self.wait(30) for _ in range(3)]
        self.clock.advance(30)
        for wire in wires:
            self.assertFalse(wire.disconnecting)
            self.assertEqual(self.page_on(wire)["changes"], [])


class AdmissionTests(SynchronousTestCase):
    def test_left(self) -> None:
        admission = Admission(1, 1)
        with admission.entered("alice"):
            with admission.left("alice"), admission.entered("alice"):
                pass
            self.assertRaises(TooMuchAtOnceError, admission.entered("alice").__enter__)
        with admission.entered("alice"):
            pass
