"""Requests of every kind, good and bad: never a 5xx, never out of the folder, never stuck."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from blobman.protocol import write_authorization
from blobman.server.accounts.file import FileAccounts
from blobman.server.accounts.tokens import TokenFile
from blobman.server.running.sites import make_site

from ..blobs import name, open_memory_backend, sealed
from .test_limits import Wire

EXAMPLES = 3000 if os.environ.get("BLOBMAN_LONG") else 250
SECRET = sealed("bob's secret")


class InstantReactor(Clock):
    """A clock whose threads are no threads."""

    def callFromThread(self, call: Callable[..., object], *arguments: object) -> None:
        call(*arguments)

    def getThreadPool(self) -> InstantReactor:
        return self

    def callInThreadWithCallback(
        self, on_result: Callable[[bool, object], None], call: Callable[..., object], *them: object
    ) -> None:
        on_result(True, call(*them))


PIECES = st.sampled_from(
    ["a", "b", "x" * 254, "x" * 255, "x" * 4000, "..", ".", "%2e%2e", "%2E%2E%2F", "%00", "%",
     "%zz", "%c3%a4", "a.flags", "a.deleted", ".blobman", "staging", "alice", "bob", "", "a b",
     "a%2Fb", "-", "_", "~", "\xe4", "\\", "%5c", "secret"]
)  # fmt: skip
ROOTS = st.sampled_from(["blobs", "stream", "incoming", "health", "metrics", "", "..", "blobs/.."])
USERS = st.sampled_from(["alice", "alice", "alice", "bob", "..", "", "%61lice"])
PATHS = st.builds(
    lambda root, user, rest: "/" + "/".join([root, user, *rest]),
    ROOTS, USERS, st.lists(PIECES, max_size=3),
)  # fmt: skip
FIELDS = st.sampled_from(
    ["namespace=mail", "namespace=..", "namespace=%2e%2e%2fbob", "namespace=", "namespace=%00",
     "changes=start", "changes=g.1", "changes=", "limit=1", "limit=0", "wait=61", "namespaces=True",
     "order_by=date", "order_by=-date", "order_by=x", "deleted=True", "filter_flag=FAILED",
     "filter_flag=%ff", "only_count=True", "only_flags=True", "direction=download",
     "direction=upload", "direction=", "=", "&&", "%", "a=b=c", "namespace=bob/default"]
)  # fmt: skip
METHODS = st.sampled_from(
    [
        "GET",
        "HEAD",
        "PUT",
        "POST",
        "DELETE",
        "OPTIONS",
        "PATCH",
        "TRACE",
        "CONNECT",
        "get",
        "X" * 99,
    ]
)
BODIES = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [sealed(), sealed("other", 70_000), b'["FAILED"]', b'["a", "b"]', b'["../bob/secret"]',
         b'[["c", 800], ["a", 800], ["..", 3]]\n' + sealed() + sealed() + b"abc", b"[" * 3000,
         b'[["c", 99999999999999999999]]\nabc', b'[["c", 800]]\n' + sealed()[:700], b"[]\n", b"[]"]
    ),
)  # fmt: skip
RANGES = st.sampled_from(
    ["bytes=0-1", "bytes=-1", "bytes=799-", "bytes=800-", "bytes=-0", "bytes=9-1", "x", "",
     "bytes=0-99999999999999999999999999", "bytes=" + "9" * 5000 + "-", "bytes=0-1,2-3",
     "\xff", "bytes=\xff", "bytes=0-1\r\nRange: bytes=2-3", "bytes=0-\r\n 1"]
)  # fmt: skip
LENGTHS = st.sampled_from(
    ["right", "right", "right", "none", "more", "less", "-1", "x", "", "9" * 30, "9" * 5000,
     "chunked", "bad chunks", "both", "twice", "chunked twice", "identity"]
)  # fmt: skip


@st.composite
def requests(draw: st.DrawFn) -> tuple[list[str], str, bytes]:
    fields = draw(st.lists(FIELDS, max_size=3))
    path = draw(PATHS) + ("?" + "&".join(fields) if fields else "")
    lines = [f"{draw(METHODS)} {path} HTTP/1.1", "Host: x"]
    if draw(st.booleans()):
        lines.append(f"Range: {draw(RANGES)}")
    if draw(st.integers(0, 9)) == 0:
        lines.append("Expect: 100-continue")
    if draw(st.integers(0, 9)) == 0:
        lines.append(draw(st.text(st.characters(max_codepoint=255), max_size=30)))
    return lines, draw(LENGTHS), draw(BODIES)


def framed(lines: list[str], length: str, body: bytes) -> bytes:
    headers, data = list(lines), body
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    if length == "right":
        headers.append(f"Content-Length: {len(body)}")
    elif length == "more":
        headers.append(f"Content-Length: {len(body) + 10}")
    elif length == "less":
        headers.append(f"Content-Length: {len(body) // 2}")
    elif length == "twice":
        headers += [f"Content-Length: {len(body)}", f"Content-Length: {len(body) + 1}"]
    elif length in ("chunked", "both", "bad chunks", "chunked twice", "identity"):
        headers.append("Transfer-Encoding: chunked")
        if length in ("chunked twice", "identity"):
            headers.append(f"Transfer-Encoding: {length.split()[0]}")
        data = chunks if length != "bad chunks" else b"zz\r\n" + chunks
        if length == "both":
            headers.append(f"Content-Length: {len(body)}")
    elif length != "none":
        headers.append(f"Content-Length: {length}")
    return "\r\n".join([*headers, "", ""]).encode("latin-1") + data


class FuzzTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = self.mktemp()
        os.mkdir(self.folder)
        tokens = TokenFile(os.path.join(self.folder, "tokens"))
        self.authorization = "Authorization: " + write_authorization("alice", tokens.add("alice"))
        self.clock = InstantReactor()
        self.backend = open_memory_backend()
        self.site = make_site(self.backend, FileAccounts(tokens, self.clock), self.clock)
        self.successResultOf(
            self.backend.store([(name("secret", "bob"), SECRET), (name("a"), sealed())])
        )

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(requests(), min_size=1, max_size=3), st.integers(1, 5000))
    def test_anything(self, asked: list[tuple[list[str], str, bytes]], step: int) -> None:
        protocol: Any = self.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        wire = Wire()
        wire.protocol = protocol
        protocol.makeConnection(wire)
        for lines, length, body in asked:
            data = framed([*lines, self.authorization], length, body)
            for start in range(0, len(data), step):
                if not wire.disconnecting:
                    protocol.dataReceived(data[start : start + step])
        self.clock.pump([10] * 30)
        self.check(wire, asked)

    def check(self, wire: Wire, asked: object) -> None:
        answers = wire.value()
        self.assertTrue(wire.disconnecting, asked)
        self.assertEqual(re.findall(rb"HTTP/1\.1 5\d\d[^\r]*", answers), [], asked)
        self.assertNotIn(SECRET[:64], answers)
        self.assertNotIn(b"Traceback", answers)
        self.assertNotIn(self.folder.encode(), answers)
        stored = self.successResultOf(self.backend.read(name("secret", "bob")))
        self.assertEqual(stored.content, SECRET)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(self.backend.uploads, set())
        self.assertEqual(self.clock.getDelayedCalls(), [])
