"""A manager that follows: what changes there or here is moved as it comes."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.task import deferLater

from blobman import (
    BlobChange,
    BlobError,
    BlobManager,
    BlobNotFoundError,
    ClosedError,
    Flags,
    MaximumRetriesError,
    NotConfiguredError,
    RetriableTransferError,
    StoreError,
    UnauthorizedError,
)
from blobman.remote import BlobsClient
from blobman.synchronizing.following import WAIT

from .remote.raw import RawServerTestCase
from .support import ReactorWithClock, ServerTestCase, content, doc, engine_of
from .test_sync import put


class Heard:
    """What an application has been told."""

    def __init__(self) -> None:
        self.changes: list[BlobChange] = []
        self._wanted: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def __call__(self, change: BlobChange) -> None:
        self.changes.append(change)
        self._look()

    def _look(self) -> None:
        for wanted in [*self._wanted]:
            if wanted[0]():
                self._wanted.remove(wanted)
                wanted[1].callback(None)

    def until(self, *changes: tuple[str, str]) -> Deferred[None]:
        """Wait until these have been told, each as a kind and an id."""
        told: Deferred[None] = Deferred()
        wanted = set(changes)
        self._wanted.append(
            (lambda: wanted <= {(it.kind, it.blob_id) for it in self.changes}, told)
        )
        self._look()
        return told


class FollowingTestCase(ServerTestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.heard = Heard()
        self.laptop = self.manager("laptop")
        self.phone = self.manager("phone", jitter=lambda seconds: seconds / 100)
        self.waiting = 0
        honest = BlobsClient.changes

        async def changes(
            client: BlobsClient, cursor: str, namespace: str = "", wait: int = 0
        ) -> Any:
            self.waiting += wait > 0
            try:
                return await honest(client, cursor, namespace, wait=wait)
            finally:
                self.waiting -= wait > 0

        self.patch(BlobsClient, "changes", changes)

    def follow(self, manager: BlobManager | None = None, **options: Any) -> Deferred[None]:
        manager = self.phone if manager is None else manager
        following = manager.follow(**{"on_change": self.heard, **options})
        # Until the test, or the end of it, looks at it.
        self.addCleanup(self.end, following)
        return following

    async def end(self, following: Deferred[None]) -> None:
        if not following.called:
            following.cancel()
            with self.assertRaises(CancelledError):
                await following

    async def until_on_server(self, *blob_ids: str, gone: bool = False) -> None:
        while any((self.on_server(blob_id) is None) != gone for blob_id in blob_ids):
            await deferLater(reactor, 0.01)

    async def until_waiting(self) -> None:
        """Wait until it waits at the server."""
        while not self.waiting:
            await deferLater(reactor, 0.01)

    async def restart_server(self) -> None:
        await self.stop_server()
        await self.start_server()


class ChangesThereTests(FollowingTestCase):
    async def test_what_was_there(self) -> None:
        await put(self.laptop, "a", "b")
        self.follow()
        await self.heard.until(("arrived", "a"), ("arrived", "b"))
        self.assertEqual(await self.phone.sync_progress, {"SYNCED": 2})

    async def test_what_comes(self) -> None:
        self.follow()
        for blob_id in "abc":
            await put(self.laptop, blob_id)
            await self.heard.until(("arrived", blob_id))
            self.assertEqual((await self.phone.get(blob_id)).read(), content(100, blob_id))
        self.assertEqual(
            self.heard.changes, [BlobChange("", blob_id, "arrived", ()) for blob_id in "abc"]
        )

    async def test_what_goes(self) -> None:
        await put(self.laptop, "a", "b")
        self.follow()
        await self.heard.until(("arrived", "a"), ("arrived", "b"))
        await self.laptop.delete("a")
        await self.heard.until(("deleted", "a"))
        self.assertEqual(await self.phone.local_list(), ["b"])

    async def test_flags(self) -> None:
        await put(self.laptop, "a")
        await self.laptop.set_flags("a", [Flags.PENDING])
        self.follow()
        await self.heard.until(("arrived", "a"))
        await self.laptop.set_flags("a", [Flags.PROCESSED, Flags.FAILED])
        await self.heard.until(("flags", "a"))
        await self.laptop.set_flags("a", [])
        await put(self.laptop, "end")
        await self.heard.until(("arrived", "end"))
        self.assertEqual(
            [(it.kind, set(it.flags)) for it in self.heard.changes],
            [
                ("arrived", {Flags.PENDING}),
                ("flags", {Flags.PROCESSED, Flags.FAILED}),
                ("flags", set()),
                ("arrived", set()),
            ],
        )

    async def test_an_id_that_is_used_again(self) -> None:
        await put(self.laptop, "a")
        self.follow()
        await self.heard.until(("arrived", "a"))
        await self.laptop.delete("a")
        await put(self.laptop, "a", size=200)
        await put(self.laptop, "end")
        await self.heard.until(("arrived", "end"))
        while [it.kind for it in self.heard.changes if it.blob_id == "a"].count("arrived") < 2:
            await deferLater(reactor, 0.01)
        self.assertEqual((await self.phone.get("a")).size, 200)

    async def test_what_another_call_fetches_is_told(self) -> None:
        self.follow()
        await put(self.laptop, "a")
        await self.phone.get("a")
        await self.heard.until(("arrived", "a"))
        self.assertEqual(len(self.heard.changes), 1)

    async def test_another_namespace(self) -> None:
        self.follow(namespace="mail")
        await put(self.laptop, "a")
        await put(self.laptop, "b", namespace="mail")
        await self.heard.until(("arrived", "b"))
        self.assertEqual(await self.phone.local_list(), [])

    async def test_what_we_do_ourselves_is_no_news(self) -> None:
        self.follow()
        await put(self.phone, "a", "b")
        await self.phone.delete("a")
        await put(self.laptop, "c")
        await self.heard.until(("arrived", "c"))
        self.assertEqual([it.blob_id for it in self.heard.changes], ["c"])

    async def test_a_listener_that_fails(self) -> None:
        def fail(change: BlobChange) -> None:
            self.heard(change)
            raise RuntimeError("the application's own mistake")

        self.follow(on_change=fail)
        for blob_id in "ab":
            await put(self.laptop, blob_id)
            await self.heard.until(("arrived", blob_id))
        await deferLater(reactor, 0)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    async def test_a_store_that_fails_once(self) -> None:
        await put(self.laptop, "a")
        store: Any = self.phone.local
        honest, errors = store.get_flags, [StoreError("the database is locked")]

        def get_flags(*arguments: Any) -> Any:
            return fail(errors.pop()) if errors else honest(*arguments)

        self.patch(store, "get_flags", get_flags)
        following = self.follow()
        await self.heard.until(("arrived", "a"))
        self.assertEqual(errors, [])
        self.assertFalse(following.called)

    async def test_nobody_listens(self) -> None:
        self.follow(on_change=None)
        await put(self.laptop, "a")
        while await self.phone.local_list() != ["a"]:
            await deferLater(reactor, 0.01)


class ChangesInStreamsTests(ChangesThereTests):
    streams = True


class ChangesHereTests(FollowingTestCase):
    async def test_a_put_that_could_not_be_sent(self) -> None:
        self.follow()
        await self.until_waiting()
        await self.stop_server()
        with self.assertRaises(RetriableTransferError):
            await self.phone.put(doc(b"data", "a"), 4)
        await self.start_server()
        await self.until_on_server("a")
        while await self.phone.sync_progress != {"SYNCED": 1}:
            await deferLater(reactor, 0.01)

    async def test_a_put_that_was_cancelled(self) -> None:
        self.follow()
        await self.until_waiting()
        server: Any = engine_of(self.phone).server
        honest = server.upload
        begun: Deferred[None] = Deferred()

        def upload(*arguments: Any) -> Any:
            if not begun.called:
                begun.callback(None)
            return honest(*arguments)

        self.patch(server, "upload", upload)
        putting = self.phone.put(doc(content(3_000_000), "a"), 3_000_000)
        # Earlier, it would be taken out of the store again.
        await begun
        await deferLater(reactor, 0)
        putting.cancel()
        with self.assertRaises(CancelledError):
            await putting
        await self.until_on_server("a")

    async def test_a_deletion_that_could_not_be_sent(self) -> None:
        await put(self.phone, "a")
        self.follow()
        await self.until_waiting()
        await self.stop_server()
        with self.assertRaises(RetriableTransferError):
            await self.phone.delete("a")
        await self.start_server()
        await self.until_on_server("a", gone=True)

    async def test_what_was_pending_before(self) -> None:
        await self.stop_server()
        with self.assertRaises(RetriableTransferError):
            await self.phone.put(doc(b"data", "a"), 4)
        await self.start_server()
        self.follow()
        await self.until_on_server("a")

    async def test_one_that_is_stuck_holds_up_no_other(self) -> None:
        server: Any = engine_of(self.phone).server
        honest = server.upload

        async def upload(blob_id: str, *arguments: Any) -> Any:
            if blob_id == "stuck":
                raise RetriableTransferError("not now")
            return await honest(blob_id, *arguments)

        self.patch(server, "upload", upload)
        phone = self.phone
        with self.assertRaises(RetriableTransferError):
            await phone.put(doc(b"data", "stuck"), 4)
        self.follow()
        for blob_id in "abc":
            await put(self.laptop, blob_id)
            await self.heard.until(("arrived", blob_id))
            await self.stop_server()
            with self.assertRaises(RetriableTransferError):
                await phone.put(doc(b"data", f"{blob_id}-ours"), 4)
            await self.start_server()
            await self.until_on_server(f"{blob_id}-ours")
        self.patch(server, "upload", honest)
        await self.until_on_server("stuck")


class ConnectionTests(FollowingTestCase):
    async def test_it_outlives_a_restart(self) -> None:
        self.follow()
        for blob_id in "ab":
            await self.until_waiting()
            await self.restart_server()
            await put(self.laptop, blob_id)
            await self.heard.until(("arrived", blob_id))

    async def test_a_server_that_is_down_when_it_begins(self) -> None:
        await put(self.laptop, "a")
        await self.stop_server()
        self.follow()
        await deferLater(reactor, 0.05)
        await self.start_server()
        await self.heard.until(("arrived", "a"))

    async def test_what_is_outlived_is_told(self) -> None:
        await put(self.laptop, "bad", "good")
        self.change_on_server("bad", -20)
        errors: list[BlobError] = []
        self.follow(on_error=errors.append)
        await self.heard.until(("arrived", "good"))
        while not errors:
            await deferLater(reactor, 0.01)
        self.assertIsInstance(errors.pop(), MaximumRetriesError)
        await self.until_waiting()
        await self.stop_server()
        while not errors:
            await deferLater(reactor, 0.01)
        self.assertIsInstance(errors.pop(), RetriableTransferError)

    async def test_what_is_deleted_while_it_is_fetched(self) -> None:
        """It may be missing a moment before the server tells of the deletion."""
        errors: list[BlobError] = []
        missed = self.miss(self.phone, "a")
        await put(self.laptop, "a")
        self.follow(on_error=errors.append)
        await missed
        await self.laptop.delete("a")
        for blob_id in "bc":
            await put(self.laptop, blob_id)
            await self.heard.until(("arrived", blob_id))
        self.assertEqual(errors, [])

    async def test_what_the_server_tells_of_and_does_not_have(self) -> None:
        clock = ReactorWithClock()
        phone = self.manager("phone", reactor=clock)
        told: Deferred[BlobError] = Deferred()
        missed = self.miss(phone, "a")
        await put(self.laptop, "a")
        self.follow(phone, on_error=told.callback)
        await missed
        await self.until_waiting()
        clock.clock.advance(WAIT)
        await put(self.laptop, "b")
        self.assertIsInstance(await told, BlobNotFoundError)

    def miss(self, manager: BlobManager, missing: str) -> Deferred[None]:
        """Have the server not find a blob that it tells of; fires when that was the first time."""
        server: Any = engine_of(manager).server
        honest = server.download
        missed: Deferred[None] = Deferred()

        async def download(blob_id: str, *arguments: Any) -> None:
            try:
                await honest("nothing" if blob_id == missing else blob_id, *arguments)
            except BlobNotFoundError:
                if not missed.called:
                    missed.callback(None)
                raise

        self.patch(server, "download", download)
        return missed

    async def test_a_server_from_a_backup(self) -> None:
        await self.stop_server()
        shutil.copytree(self.data, self.data + ".backup")
        await self.start_server()
        self.follow()
        await put(self.laptop, "a")
        await self.heard.until(("arrived", "a"))
        await self.until_waiting()
        await self.stop_server()
        shutil.rmtree(self.data)
        shutil.move(self.data + ".backup", self.data)
        await self.start_server()
        await self.until_on_server("a")

    async def test_the_waiting_takes_no_permit(self) -> None:
        self.phone.concurrent_transfers_limit = 1
        self.follow()
        await self.until_waiting()
        await put(self.phone, "a")
        self.assertEqual(await self.phone.count(), {"count": 1})

    async def test_the_waiting_is_no_idleness(self) -> None:
        phone = self.manager("other", idle_timeout=0.2)
        self.follow(phone)
        await self.until_waiting()
        await deferLater(reactor, 0.5)
        self.assertEqual(self.waiting, 1)

    async def test_an_old_server(self) -> None:
        old = self.manager("old", remote=self.url_at(await self.old_port()))
        await put(self.laptop, "a", "b")
        self.follow(old, interval=0.02)
        await self.heard.until(("arrived", "a"), ("arrived", "b"))
        await put(self.laptop, "c")
        await self.laptop.delete("a")
        await self.heard.until(("arrived", "c"), ("deleted", "a"))

    async def test_sync_beside_it(self) -> None:
        self.follow()
        for blob_id in "abc":
            await put(self.laptop, blob_id)
            await self.phone.sync()
            await self.heard.until(("arrived", blob_id))
            self.assertIn(blob_id, await self.phone.local_list())


class EndTests(FollowingTestCase):
    async def test_cancelled_by_who_is_told(self) -> None:
        following: list[Deferred[None]] = []
        await put(self.laptop, "a")
        following.append(self.phone.follow(on_change=lambda change: following[0].cancel()))
        with self.assertRaises(CancelledError):
            await following[0]
        await self.stop_server()
        following[0] = self.phone.follow(on_error=lambda error: following[0].cancel())
        with self.assertRaises(CancelledError):
            await following[0]

    async def test_cancelled(self) -> None:
        following = self.follow()
        await self.until_waiting()
        following.cancel()
        with self.assertRaises(CancelledError):
            await following
        await put(self.phone, "a")

    async def test_closed(self) -> None:
        for ready in (False, True):
            manager = self.manager(f"closed-{ready}")
            following = self.follow(manager)
            if ready:
                await self.until_waiting()
            closing = manager.close()
            with self.assertRaises(ClosedError):
                await following
            await closing
        with self.assertRaises(ClosedError):
            await manager.follow()

    async def test_a_token_that_is_not_accepted(self) -> None:
        with self.assertRaises(UnauthorizedError):
            await self.manager("other", token="stolen").follow()

    async def test_it_takes_a_store_and_a_server(self) -> None:
        for options in ({"local_path": None}, {"remote": None}):
            for namespace in ("", None):
                with self.assertRaises(NotConfiguredError):
                    await self.manager("other", **options).follow(namespace)

    async def test_wrong_arguments(self) -> None:
        for error, arguments in (
            (TypeError, {"on_change": 5}),
            (TypeError, {"on_error": "log"}),
            (TypeError, {"interval": "soon"}),
            (ValueError, {"interval": 0}),
            (ValueError, {"namespace": "no name"}),
        ):
            wrong: Any = arguments
            with self.assertRaises(error):
                await self.phone.follow(**wrong)


class AllNamespacesTests(FollowingTestCase):
    async def test_those_that_there_are(self) -> None:
        for number in range(7):
            await put(self.laptop, f"{number}", namespace=f"n{number}")
        self.follow(namespace=None, interval=0.05)
        await self.heard.until(*(("arrived", f"{number}") for number in range(7)))
        await put(self.laptop, "default")
        await put(self.laptop, "more", namespace="n6")
        await self.heard.until(("arrived", "default"), ("arrived", "more"))

    async def test_those_that_come(self) -> None:
        self.follow(namespace=None, interval=0.05)
        await self.until_waiting()
        await put(self.laptop, "a", namespace="mail")
        await self.heard.until(("arrived", "a"))
        self.assertEqual(self.heard.changes, [BlobChange("mail", "a", "arrived", ())])

    async def test_ends(self) -> None:
        following = self.follow(namespace=None)
        await self.until_waiting()
        await self.phone.close()
        with self.assertRaises(ClosedError):
            await following
        with self.assertRaises(UnauthorizedError):
            await self.manager("other", token="stolen").follow(None)


class PatienceTests(RawServerTestCase):
    """Servers that answer at once: they are not asked again at once."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = ReactorWithClock()
        self.phone = self.make_manager(reactor=self.clock, jitter=lambda seconds: seconds)
        self.wanted: tuple[int, Deferred[None]] | None = None
        self.page: dict[str, Any] = {"changes": [], "cursor": "c1", "more": False}

        def handle(server: Any, request: Any) -> None:
            self.answer(server, request)
            if self.wanted is not None and len(self.requests) >= self.wanted[0]:
                wanted, self.wanted = self.wanted[1], None
                wanted.callback(None)

        self.handle = handle

    def answer(self, server: Any, request: Any) -> None:
        if "deleted" in request.path:
            server.answer(200, b"[]")
        else:
            server.answer(200, json.dumps(self.page).encode())

    def until_asked(self, times: int) -> Deferred[None]:
        wanted: Deferred[None] = Deferred()
        self.wanted = (times, wanted)
        return wanted

    async def pause(self, seconds: float) -> None:
        """Wait until it pauses for so long; then let the time pass, until it has asked again."""
        clock = self.clock.clock
        while not any(
            abs(call.getTime() - clock.seconds() - seconds) < 1e-6 for call in clock.calls
        ):
            await deferLater(reactor, 0)
        number = len(self.requests)
        clock.advance(seconds - 0.25)
        asked = self.until_asked(number + 1)
        self.assertNoResult(asked)
        clock.advance(0.5)
        await asked

    async def test_without_changes(self) -> None:
        following = self.phone.follow()
        # What is there, and then what comes.
        await self.until_asked(2)
        for seconds in (1, 11, 21, 31, 41, 51, 60, 60):
            await self.pause(seconds)
        self.assertEqual(len(self.requests), 10)
        await self.end(following)

    async def test_the_same_again(self) -> None:
        self.page["changes"] = [["gone"]]
        following = self.phone.follow()
        await self.until_asked(2)
        for seconds in (1, 11, 21):
            await self.pause(seconds)
        await self.end(following)

    async def test_without_news(self) -> None:
        self.page["changes"] = [["gone"]]
        count = itertools.count()
        honest = self.answer

        def answer(server: Any, request: Any) -> None:
            self.page["cursor"] = f"c{next(count)}"
            honest(server, request)

        self.patch(self, "answer", answer)
        following = self.phone.follow()
        # The first answer of that kind may be about what we have done ourselves.
        await self.until_asked(3)
        # So may others: what comes next is not to be noticed much later.
        for seconds in (1, 1, 1, 1):
            await self.pause(seconds)
        self.assertEqual(len(self.requests), 7)
        await self.end(following)

    async def test_errors(self) -> None:
        errors: list[Callable[[Any], None]] = [
            lambda server: server.answer(503),
            lambda server: server.answer(200, b"<html>Log in</html>"),
            lambda server: server.answer(400, b"", "Blobs-Answer: refused"),
            lambda server: server.close(),
        ]
        for error in errors:
            self.requests.clear()
            self.patch(self, "answer", lambda server, request, error=error: error(server))
            asked = self.until_asked(1)
            following = self.phone.follow()
            await asked
            for seconds in (1, 11, 21):
                await self.pause(seconds)
            await self.end(following)

    async def end(self, following: Deferred[None]) -> None:
        self.assertNoResult(following)
        following.cancel()
        with self.assertRaises(CancelledError):
            await following
