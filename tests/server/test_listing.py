"""The files win: what is done to them behind the server's back shows in what it tells."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from blobman.model import Flags
from blobman.protocol import ListQuery
from blobman.server import checking, listing, walking
from blobman.server.checkers import Checkers
from blobman.server.filesystem import FilesystemBackend
from blobman.server.folder import BlobFolder
from blobman.server.layout import folder_of, sidecar
from blobman.server.listing import Listing
from blobman.server.running.administration import Usage, read_usage, set_quota
from blobman.server.storage import BlobName
from blobman.server.watching import INTERVAL

from .blobs import sealed
from .contract import name, query
from .serving import ServerMixin

LONG = "x" * 250


def next_turn() -> Deferred[None]:
    turn: Deferred[None] = Deferred()
    reactor.callLater(0, turn.callback, None)
    return turn


def fail_to_start(_: Checkers) -> Any:
    raise PermissionError("no processes here")


class BehindTheBack:
    """Mixed into a TestCase that sets ``root``, to change files without the server."""

    root: str

    def path(self, blob: BlobName, suffix: str = "") -> Path:
        beside = sidecar(blob.blob_id, suffix) if suffix else blob.blob_id
        return Path(folder_of(self.root, blob), beside)

    def add(self, blob: BlobName, size: int = 800, changed: int | None = None) -> None:
        path = self.path(blob)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sealed(blob.blob_id, size))
        if changed is not None:
            os.utime(path, ns=(changed, changed))


class HTTPTests(BehindTheBack, ServerMixin, TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await self.start_server()
        for blob_id in "abc":
            await self.expect(200, "PUT", f"blobs/alice/{blob_id}", sealed(blob_id))

    async def told(self, query: str = "") -> Any:
        return (await self.expect(200, "GET", f"blobs/alice/?{query}")).json()

    async def test_removed(self) -> None:
        await self.expect(200, "POST", "blobs/alice/b", b'["PENDING"]')
        for order in ("filter_flag=PENDING", "order_by=-date", "", "only_count=True"):
            self.path(name("b")).unlink()
            listed = await self.told(order)
            self.assertNotIn("b", listed)
            self.assertEqual(await self.told("only_count=True"), {"count": 2})
            self.add(name("b"))
            await self.expect(200, "HEAD", "blobs/alice/b")
            self.assertEqual(await self.told(), ["a", "b", "c"])
        shutil.rmtree(os.path.join(self.root, "alice"))
        self.assertEqual(await self.told("only_count=True"), {"count": 0})
        self.assertEqual(await self.told(), [])

    async def test_no_file_any_more(self) -> None:
        self.path(name("b")).unlink()
        self.path(name("b")).symlink_to("elsewhere")
        self.path(name("c")).unlink()
        self.path(name("c")).mkdir()
        self.assertEqual(await self.told(), ["a"])

    async def test_redated(self) -> None:
        self.assertEqual(await self.told("order_by=date"), ["a", "b", "c"])
        os.utime(self.path(name("a")))
        os.utime(self.path(name("b")), ns=(0, 0))
        self.assertEqual(await self.told("order_by=date"), ["b", "c", "a"])

    async def test_flags(self) -> None:
        for blob_id in "abc":
            await self.expect(200, "POST", f"blobs/alice/{blob_id}", b'["PENDING"]')
        self.path(name("a"), ".flags").unlink()
        self.path(name("b"), ".flags").write_text('["FAILED"]')
        self.assertEqual(await self.told("filter_flag=PENDING"), ["c"])
        self.assertEqual(await self.told("filter_flag=FAILED"), ["b"])
        self.assertEqual(await self.told("filter_flag=FAILED&only_count=True"), {"count": 1})

    async def test_tombstones(self) -> None:
        for blob_id in "abc":
            await self.expect(200, "DELETE", f"blobs/alice/{blob_id}")
        self.path(name("a"), ".deleted").unlink()
        os.utime(self.path(name("b"), ".deleted"))
        self.assertEqual(await self.told("deleted=True"), ["b", "c"])
        self.assertEqual(await self.told("deleted=True&order_by=date"), ["c", "b"])
        self.assertEqual(await self.told("deleted=True&only_count=True"), {"count": 2})

    async def test_added_and_asked_for(self) -> None:
        for number, (code, method, path, body) in enumerate(
            [
                (200, "GET", "", None),
                (200, "HEAD", "", None),
                (200, "GET", "?only_flags=True", None),
                (409, "PUT", "", sealed()),
                (200, "POST", "", b"[]"),
            ]
        ):
            added = name(f"new{number}")
            self.add(added)
            await self.expect(code, method, f"blobs/alice/{added.blob_id}{path}", body)
            self.assertIn(added.blob_id, await self.told())

    async def test_added_and_sent_in_a_stream(self) -> None:
        self.add(name("new"))
        self.assertEqual(len(await self.backend.store([(name("new"), sealed())])), 1)
        self.assertIn("new", await self.told())

    async def test_asked_for_in_a_stream(self) -> None:
        set_quota(self.root, "alice", 4000)
        await self.expect(507, "PUT", "blobs/alice/large", sealed(size=2400))
        self.path(name("a")).unlink()
        self.add(name("new"))
        ids = b'["a", "b", "c", "new", "never"]'
        for _ in range(2):
            await self.expect(200, "POST", "stream/alice?direction=download", ids)
        self.assertEqual(await self.told(), ["b", "c", "new"])
        await self.expect(507, "PUT", "blobs/alice/large", sealed(size=2400))
        self.path(name("b")).unlink()
        await self.expect(200, "POST", "stream/alice?direction=download", ids)
        await self.expect(200, "PUT", "blobs/alice/large", sealed(size=2400))

    async def test_removed_and_asked_for(self) -> None:
        set_quota(self.root, "alice", 2400)
        for method, body in (("GET", None), ("DELETE", None), ("POST", b"[]")):
            await self.expect(507, "PUT", "blobs/alice/d", sealed())
            self.path(name("a")).unlink()
            await self.expect(404, method, "blobs/alice/a", body)
            await self.expect(200, "PUT", "blobs/alice/a", sealed())

    async def test_quota(self) -> None:
        set_quota(self.root, "alice", 2400)
        await self.expect(507, "PUT", "blobs/alice/d", sealed())
        self.path(name("a")).unlink()
        self.assertEqual(await self.told("only_count=True"), {"count": 2})
        await self.expect(200, "PUT", "blobs/alice/d", sealed())
        await self.expect(507, "PUT", "blobs/alice/e", sealed())
        self.add(name("d"), 1600)
        self.path(name("c")).unlink()
        self.assertEqual(await self.told(), ["b", "d"])
        await self.expect(507, "PUT", "blobs/alice/e", sealed())
        self.add(name("d"), 800)
        self.assertEqual(await self.told("only_count=True"), {"count": 2})
        await self.expect(200, "PUT", "blobs/alice/e", sealed())

    async def test_usage(self) -> None:
        self.path(name("a")).unlink()
        self.add(name("b"), 1000)
        self.assertEqual(read_usage(self.root), [Usage("alice", 2, 1800, None)])
        shutil.rmtree(os.path.join(self.root, "alice"))
        self.assertEqual(read_usage(self.root), [])


class LongListTests(BehindTheBack, TestCase):
    """Lists that are checked in parts, in other processes."""

    async def setUp(self) -> None:  # type: ignore[override]
        self.root = self.mktemp()
        self.patch(listing, "PART", 4)
        self.backend = FilesystemBackend(self.root)
        await self.backend.open()
        self.addCleanup(lambda: self.backend.close())
        self.ids = [*map(str, range(10, 32)), LONG]
        await self.backend.store([(name(it), sealed(it)) for it in self.ids])

    async def check(self) -> None:
        backend = self.backend
        for blob_id in self.ids:
            await backend.set_flags(name(blob_id), [Flags.PENDING])
        self.assertEqual(await backend.list("alice", query(flag=Flags.PENDING)), self.ids)
        for gone in (10, 13, 14, 17, 31):
            self.path(name(str(gone))).unlink()
            self.ids.remove(str(gone))
        self.assertEqual(await backend.count("alice", query()), len(self.ids))
        self.assertEqual(await backend.list("alice", query()), self.ids)
        for unflagged in ("11", LONG):
            self.path(name(unflagged), ".flags").unlink()
        listed = await backend.list("alice", query(flag=Flags.PENDING))
        self.assertEqual(listed, self.ids[1:-1])
        for blob_id in self.ids:
            await backend.delete(name(blob_id))
        for forgotten in ("11", "12", LONG):
            self.path(name(forgotten), ".deleted").unlink()
        self.assertEqual(await backend.list("alice", query(deleted=True)), self.ids[2:-1])
        self.assertEqual(await backend.list("alice", query()), [])

    async def test_in_processes(self) -> None:
        asked: list[checking.Request] = []
        real = Checkers.differing

        def differing(checkers: Checkers, request: checking.Request) -> list[str]:
            asked.append(request)
            return real(checkers, request)

        self.patch(Checkers, "differing", differing)
        self.patch(checking, "differing", None)
        await self.check_long()
        self.assertGreater(len(asked), 10)

    async def check_long(self) -> None:
        for gone in (10, 13, 14, 17, 31):
            self.path(name(str(gone))).unlink()
            self.ids.remove(str(gone))
        self.assertEqual(await self.backend.count("alice", query()), len(self.ids))
        self.assertEqual(await self.backend.list("alice", query()), self.ids)

    async def test_all_kinds(self) -> None:
        await self.check()

    async def test_where_no_process_can_be_started(self) -> None:
        self.patch(Checkers, "_start", fail_to_start)
        await self.check()

    async def test_a_process_that_has_ended(self) -> None:
        await self.backend.list("alice", query())
        checkers = self.backend._listing._checkers
        for process in checkers._idle:
            process.kill()
            process.wait()
        await self.check()

    async def test_at_once(self) -> None:
        shutil.rmtree(os.path.join(self.root, "alice"))
        lists = [self.backend.list("alice", query(order_by=it)) for it in (None, "date", "-date")]
        self.assertEqual(await gatherResults(lists), [[], [], []])


class SharingTests(SynchronousTestCase):
    """Of lists that are asked for at once, few are gone through."""

    def setUp(self) -> None:
        self.folder = BlobFolder(self.mktemp())
        self.folder.open()
        self.addCleanup(self.folder.close)
        self.steps: list[tuple[Deferred[Any], Any, tuple[Any, ...]]] = []
        self.listing = Listing(self.folder, self.run_later)

    def run_later(self, call: Any, *arguments: Any) -> Deferred[Any]:
        step: Deferred[Any] = Deferred()
        self.steps.append((step, call, arguments))
        return step

    def go_on(self) -> str:
        step, call, arguments = self.steps.pop(0)
        try:
            step.callback(call(*arguments))
        except Exception as error:
            step.errback(error)
        return str(call.__name__)

    def ask(self, **fields: Any) -> Deferred[list[str]]:
        return Deferred.fromCoroutine(self.listing.list("alice", query(**fields)))

    def test_each_waits_for_a_check_from_then_on(self) -> None:
        first = self.ask()
        others = [self.ask(order_by="date") for _ in range(5)]
        self.assertEqual([self.go_on() for _ in range(2)], ["part_ends", "_put_right"])
        self.assertNoResult(others[0])
        self.assertEqual({self.go_on() for _ in range(2)}, {"part_ends", "list"})
        self.assertEqual(self.successResultOf(first), [])
        self.assertEqual(
            [self.go_on() for _ in range(6)], ["_put_right", "list", "list", "list", "list", "list"]
        )
        for other in others:
            self.assertEqual(self.successResultOf(other), [])
        self.assertEqual(self.steps, [])

    def test_others_do_not_wait(self) -> None:
        self.ask()
        deleted = self.ask(deleted=True)
        self.assertEqual(len(self.steps), 2)
        while self.steps:
            self.go_on()
        self.assertEqual(self.successResultOf(deleted), [])

    def test_failures(self) -> None:
        def fail(*arguments: object) -> Any:
            raise OSError("unreadable")

        self.patch(self.folder.index, "part_ends", fail)
        fail.__name__ = "part_ends"
        lists = [self.ask(), self.ask()]
        while self.steps:
            self.go_on()
        for failed in lists:
            self.failureResultOf(failed, OSError)
        self.patch(listing, "PART", 1)
        self.patch(self.folder.index, "part_ends", lambda *them: ["a", "b"])
        self.patch(self.folder, "refresh", fail)
        self.folder.index.close(True)
        failed = self.ask()
        self.folder.index.part_ends.__name__ = "part_ends"
        while self.steps:
            self.go_on()
        self.failureResultOf(failed)
        self.folder.index.open()


class WatchTests(BehindTheBack, TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        self.root = self.mktemp()
        self.clock = Clock()
        self.backend = FilesystemBackend(self.root, clock=self.clock)
        await self.backend.open()
        self.addCleanup(lambda: self.backend.close())

    async def compared(self) -> None:
        compared = self.backend.watch.compared
        while not compared.called:
            await next_turn()
            self.clock.advance(0)

    async def test_what_others_added(self) -> None:
        await self.backend.store([(name(it), sealed(it)) for it in "abc"])
        for _ in range(2):
            self.add(name("new"))
            self.path(name("new"), ".flags").write_text('["FAILED"]')
            self.path(name("a"), ".flags").write_text('["FAILED"]')
            self.path(name("gone"), ".deleted").parent.mkdir(parents=True, exist_ok=True)
            self.path(name("gone"), ".deleted").touch()
            self.clock.advance(INTERVAL - 1)
            self.assertEqual(await self.backend.count("alice", query(deleted=True)), 0)
            self.clock.advance(1)
            await self.compared()
            flagged = await self.backend.list("alice", query(flag=Flags.FAILED))
            self.assertEqual(flagged, ["a", "new"])
            self.assertEqual(await self.backend.list("alice", query(deleted=True)), ["gone"])
            self.assertEqual(read_usage(self.root), [Usage("alice", 4, 3200, None)])
            shutil.rmtree(os.path.join(self.root, "alice", "default", "n"))
            shutil.rmtree(os.path.join(self.root, "alice", "default", "g"))
            self.path(name("a"), ".flags").unlink()
            self.assertEqual(await self.backend.list("alice", query(flag=Flags.FAILED)), [])
            self.assertEqual(await self.backend.list("alice", query(deleted=True)), [])

    async def test_a_start_in_order_begins_with_it(self) -> None:
        await self.backend.close()
        self.add(name("new"))
        await self.backend.open()
        await self.compared()
        self.assertEqual(await self.backend.list("alice", query()), ["new"])

    async def test_it_is_stopped(self) -> None:
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        await self.backend.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        await self.backend.open()
        await self.backend.close()
        await self.backend.watch.compared
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_it_rests(self) -> None:
        await self.backend.store([(name(f"{it:04}"), sealed()) for it in range(600)])
        real = walking.put_right
        taken: list[int] = []

        def put_right(*arguments: Any) -> bool:
            taken.append(arguments[-1])
            self.clock.rightNow += 2.0
            return real(*arguments)

        self.patch(walking, "put_right", put_right)
        self.clock.advance(INTERVAL)
        while not self.clock.getDelayedCalls():
            await next_turn()
        (pause,) = self.clock.getDelayedCalls()
        self.assertEqual(pause.getTime() - self.clock.seconds(), 8.0)
        self.assertEqual(len(taken), 1)
        self.clock.advance(8)
        await self.compared()
        self.assertEqual(len(taken), 2)

    async def test_it_goes_on_after_a_failure(self) -> None:
        def fail(*_: object) -> bool:
            raise OSError("unreadable")

        with_trouble = self.patch(walking, "put_right", fail)
        self.clock.advance(INTERVAL)
        await self.compared()
        with_trouble.restore()
        self.add(name("new"))
        self.clock.advance(INTERVAL)
        await self.compared()
        self.assertEqual(await self.backend.list("alice", query()), ["new"])


class CheckingTests(SynchronousTestCase):
    def test_the_program(self) -> None:
        folder = BlobFolder(self.mktemp())
        folder.open()
        self.addCleanup(folder.close)
        folder.store([(name(it), sealed()) for it in "abc"])
        os.unlink(os.path.join(folder_of(folder.root, name("b")), "b"))
        statement, values = folder.index.proposal("alice", ListQuery(namespace="default"), "", None)
        place = os.path.join(folder.root, "alice", "default")
        checkers = Checkers(folder.index.path)
        self.addCleanup(checkers.close)
        request = checking.Request(statement, values, place, False)
        self.assertEqual(checkers.differing(request), ["b"])
        self.assertRaises(OSError, checkers.differing, request._replace(statement="nonsense"))
        self.assertEqual(checkers.differing(request), ["b"])
