"""Synchronizing on what has changed: what is asked, and what is compared all the same."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlsplit

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from blobman import (
    BlobChange,
    BlobManager,
    BlobNotFoundError,
    BlobsSynchronizer,
    RetriableTransferError,
    ServerError,
    SyncResult,
    SyncStatus,
)
from blobman.interfaces import IBlobStore
from blobman.reconciliation import FeedState
from blobman.synchronizing.comparing import DAY, FULL_INTERVAL, is_due

from .remote.raw import RawServerTestCase
from .support import KEY, SECRET, USER, ServerTestCase, doc, engine_of
from .test_sync import put


class FeedTestCase(ServerTestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.laptop, self.phone = self.manager("laptop"), self.manager("phone")
        self.asked: list[str] = []
        for name in ("changes", "list", "get_tag", "compare"):
            self.note(self.phone, name)

    def note(self, manager: BlobManager, name: str) -> None:
        """Take note of each question to the server."""
        server: Any = engine_of(manager).server
        honest = getattr(server, name)

        self.patch(server, name, self.noting(self.asked, name, honest))

    def noting(self, asked: list[str], name: str, honest: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any, **options: Any) -> Any:
            asked.append(name)
            return honest(*arguments, **options)

        return noted

    async def put_offline(self, *blob_ids: str) -> None:
        await self.stop_server()
        for blob_id in blob_ids:
            with self.assertRaises(RetriableTransferError):
                await self.phone.put(doc(b"phone's", blob_id), 7)
        await self.start_server()

    async def back_up_server(self) -> None:
        await self.stop_server()
        shutil.copytree(self.data, self.data + ".backup", symlinks=True)
        await self.start_server()

    async def restore_server(self) -> None:
        await self.stop_server()
        shutil.rmtree(self.data)
        os.rename(self.data + ".backup", self.data)
        await self.start_server()


class QuestionTests(FeedTestCase):
    async def test_nothing_new_is_one_question(self) -> None:
        await put(self.laptop, *(f"{number}" for number in range(50)))
        await self.phone.sync()
        self.asked.clear()
        self.assertEqual(await self.phone.sync(), SyncResult())
        self.assertEqual(self.asked, ["changes"])

    async def test_nothing_new_is_two_questions_to_the_store(self) -> None:
        """Each one takes a thread, which takes longer than all else."""
        await put(self.laptop, "a", "b")
        for _ in range(2):
            await self.phone.sync()
        store: Any = self.phone.local
        questions = [name for name in IBlobStore if callable(getattr(store, name))]
        asked: list[str] = []
        for name in questions:
            self.patch(store, name, self.noting(asked, name, getattr(store, name)))
        self.assertEqual(await self.phone.sync(), SyncResult())
        self.assertEqual(asked, ["list_untold", "find_waiting"])

    async def test_what_another_manager_of_the_store_has_begun(self) -> None:
        """It may not come to its end there."""
        await put(self.laptop, "a")
        for _ in range(2):
            await self.phone.sync()
        store: Any = self.phone.local
        await store.begin_comparison(is_refused=False)
        await self.phone.sync()
        self.assertFalse((await store.get_feed()).is_comparing)

    async def test_what_a_follow_has_read_meanwhile(self) -> None:
        """It is not read again, and what comes next is not missed."""
        for _ in range(2):
            await self.phone.sync()
        heard: Deferred[BlobChange] = Deferred()
        following = self.phone.follow(on_change=heard.callback)
        await put(self.laptop, "a")
        self.assertEqual((await heard).blob_id, "a")
        following.cancel()
        with self.assertRaises(CancelledError):
            await following
        await put(self.laptop, "b")
        self.assertEqual(await self.phone.sync(), SyncResult(fetched=1))
        self.assertEqual(await self.phone.local_list(), ["a", "b"])
        self.assertEqual(await self.phone.sync(), SyncResult())

    async def test_what_has_changed_is_one_question(self) -> None:
        await put(self.laptop, "a", "b", "c")
        await self.phone.sync()
        await self.laptop.delete("a")
        await put(self.laptop, "d")
        self.asked.clear()
        self.assertEqual(await self.phone.sync(), SyncResult(fetched=1, deleted=1))
        self.assertEqual(self.asked, ["changes"])

    async def test_after_sending_it_is_asked_once_more(self) -> None:
        await self.phone.sync()
        await self.put_offline("a")
        self.asked.clear()
        self.assertEqual(await self.phone.sync(), SyncResult(sent=1))
        self.assertEqual(self.asked, ["changes", "changes"])
        self.assertEqual(await self.phone.sync(), SyncResult())

    async def test_what_comes_meanwhile_is_fetched(self) -> None:
        await self.phone.sync()
        await self.put_offline("a")
        server: Any = engine_of(self.phone).server
        honest = server.upload

        async def upload(*arguments: Any) -> Any:
            await put(self.laptop, "b")
            return await honest(*arguments)

        self.patch(server, "upload", upload)
        self.assertEqual(await self.phone.sync(), SyncResult(fetched=1, sent=1))

    async def test_many_pages(self) -> None:
        server: Any = engine_of(self.phone).server
        honest = server.changes
        self.patch(server, "changes", lambda *arguments: honest(*arguments, limit=3))
        await put(self.laptop, *(f"{number}" for number in range(20)))
        self.assertEqual(await self.phone.sync(), SyncResult(fetched=20))
        self.assertEqual(self.asked.count("changes"), 7)

    async def test_another_process_begins_anew_meanwhile(self) -> None:
        server, beside = engine_of(self.phone).server, self.manager("phone").local
        assert server is not None and beside is not None
        honest: Any = server.changes

        async def changes(*arguments: Any) -> Any:
            page = await honest(*arguments, limit=3)
            if self.asked.count("changes") == 3:
                await beside.begin_comparison()
            return page

        self.patch(server, "changes", changes)
        await put(self.laptop, *(f"{number}" for number in range(20)))
        self.assertEqual(await self.phone.sync(), SyncResult(fetched=20))
        self.assertEqual(self.asked.count("changes"), 10)

    async def test_an_old_server(self) -> None:
        old = self.manager("old", remote=self.url_at(await self.old_port()))
        for name in ("changes", "list"):
            self.note(old, name)
        await put(self.laptop, "a", "b")
        self.assertEqual(await old.sync(), SyncResult(fetched=2))
        # The list, and the tombstones.
        self.assertEqual(self.asked, ["changes", "list"])
        await self.laptop.delete("a")
        self.assertEqual(await old.sync(full=True), SyncResult(deleted=1))

    async def test_a_server_that_is_old_now_and_then(self) -> None:
        await put(self.laptop, "a", "b")
        await self.phone.sync()
        await self.phone.close()
        await self.laptop.delete("a")
        await put(self.laptop, "c")
        old = self.manager("phone", remote=self.url_at(await self.old_port()))
        self.assertEqual(await old.sync(), SyncResult(fetched=1, deleted=1))
        await old.close()
        await self.laptop.delete("b")
        await put(self.laptop, "d", "a")
        phone = self.manager("phone")
        self.assertEqual(await phone.sync(), SyncResult(fetched=2, deleted=1))
        self.assertEqual(sorted(await phone.local_list()), ["a", "c", "d"])

    async def test_a_deletion_by_another_of_what_was_to_be_deleted_before_it_was_put(self) -> None:
        with self.assertRaises(BlobNotFoundError):
            await self.laptop.delete("a")
        await put(self.laptop, "a")
        await self.phone.delete("a")
        self.assertEqual(await self.laptop.sync(), SyncResult(deleted=1))

    async def test_an_id_that_is_used_again_after_its_deletion_was_asked_for(self) -> None:
        """What is to be deleted was never here, so only its tag tells it from the new one."""
        await put(self.laptop, "a", "b")
        await self.phone.refresh_sync_status_from_server()
        await self.stop_server()
        for blob_id in "ab":
            with self.assertRaises(RetriableTransferError):
                await self.phone.delete(blob_id)
        await self.start_server()
        await self.laptop.delete("a")
        await self.laptop.put(doc(b"new", "a"), 3)
        self.assertEqual(await self.phone.sync(), SyncResult(fetched=1, deleted=1))
        self.assertEqual((await self.phone.get("a")).read(), b"new")
        self.assertEqual(await self.phone.remote_list(), ["a"])

    async def test_an_id_that_is_used_again_while_the_server_is_old(self) -> None:
        """What a download has to be was told by a server that tells nothing any more."""
        await put(self.laptop, "a", "b")
        await self.phone.sync()
        await self.laptop.delete("a")
        await self.laptop.put(doc(b"the second", "a"), 10)
        await self.phone.refresh_sync_status_from_server()
        await self.phone.close()
        for blob_id in "ab":
            await self.laptop.delete(blob_id)
            await self.laptop.put(doc(b"the third", blob_id), 9)
        await put(self.laptop, "c")
        old = self.manager("phone", remote=self.url_at(await self.old_port()))
        await old.refresh_sync_status_from_server()
        await self.laptop.delete("c")
        await self.laptop.put(doc(b"the second", "c"), 10)
        self.assertEqual(await old.sync(), SyncResult(fetched=3))
        for blob_id, data in (("a", b"the third"), ("b", b"the third"), ("c", b"the second")):
            self.assertEqual((await old.get(blob_id)).read(), data)

    async def test_what_another_deletes_while_the_server_is_old(self) -> None:
        await self.phone.sync()
        await self.phone.close()
        old = self.manager("phone", remote=self.url_at(await self.old_port()))
        await old.sync()
        await put(old, "a")
        await put(self.laptop, "b")
        await old.get("b")
        await old.close()
        for blob_id in "ab":
            await self.laptop.delete(blob_id)
        phone = self.manager("phone")
        self.assertEqual(await phone.sync(), SyncResult(deleted=2))

    async def test_another_server_which_is_an_old_one(self) -> None:
        """What was done there says nothing of what is here."""
        await put(self.laptop, "a", "b", "c")
        await self.phone.sync()
        await self.phone.close()
        data, self.data = self.data, self.data + ".elsewhere"
        await self.stop_server()
        await self.start_server()
        elsewhere = self.manager("phone", remote=self.url_at(await self.old_port()))
        self.assertEqual(await elsewhere.sync(), SyncResult(sent=3))
        await put(elsewhere, "d")
        await elsewhere.delete("a")
        self.assertEqual(await elsewhere.sync(), SyncResult())
        await elsewhere.close()
        await self.stop_server()
        self.data = data
        await self.start_server()
        await self.laptop.delete("b")
        phone = self.manager("phone")
        self.assertEqual(await phone.sync(), SyncResult(fetched=1, sent=1, deleted=1))
        self.assertEqual(sorted(await phone.local_list()), ["a", "c", "d"])
        self.assertEqual(sorted(await phone.remote_list()), ["a", "c", "d"])


class FullTests(FeedTestCase):
    async def test_what_the_server_lost_without_a_word(self) -> None:
        await put(self.laptop, "a", "b")
        await self.phone.sync()
        self.remove_from_server("a")
        self.assertEqual(await self.phone.sync(), SyncResult())
        self.assertEqual(await self.phone.sync(full=True), SyncResult(sent=1))
        self.assertIsNotNone(self.on_server("a"))

    async def test_it_is_noted_only(self) -> None:
        await put(self.laptop, "a", "b")
        await self.phone.sync()
        self.remove_from_server("a")
        await self.phone.refresh_sync_status_from_server()
        self.assertEqual(await self.phone.sync_progress, {"SYNCED": 2})
        await self.phone.refresh_sync_status_from_server(full=True)
        self.assertEqual(await self.phone.sync_progress, {"SYNCED": 1, "PENDING_UPLOAD": 1})

    async def test_what_was_sent_before_a_backup_was_put_back(self) -> None:
        """The cursor of before is good at the restored server, and what was lost is noticed."""
        await self.phone.sync()
        await self.back_up_server()
        await self.put_offline("a")
        await self.phone.sync()
        await self.restore_server()
        self.assertEqual(await self.phone.sync(), SyncResult(sent=1))
        self.assertEqual(await self.laptop.sync(), SyncResult(fetched=1))

    async def test_what_was_put_before_a_backup_was_put_back(self) -> None:
        """Nothing was asked of the server in between."""
        await self.phone.sync()
        await self.back_up_server()
        await put(self.phone, "a", "b")
        await self.restore_server()
        await put(self.phone, "c")
        self.assertEqual(await self.phone.sync(), SyncResult(sent=2))
        self.assertEqual(await self.laptop.sync(), SyncResult(fetched=3))
        self.asked.clear()
        self.assertEqual(await self.phone.sync(), SyncResult())
        self.assertEqual(self.asked, ["changes"])

    async def test_what_was_put_and_deleted_by_another(self) -> None:
        await self.phone.sync()
        await put(self.phone, "a", "b")
        await self.laptop.delete("a")
        self.assertEqual(await self.phone.sync(), SyncResult(deleted=1))
        self.assertEqual(await self.phone.local_list(), ["b"])

    async def test_a_put_after_a_deletion_of_what_was_not_here(self) -> None:
        """The tombstone that the restored server has is older than the blob."""
        await put(self.laptop, "a")
        await self.phone.delete("a")
        await self.back_up_server()
        await put(self.phone, "a")
        await self.phone.sync()
        await self.restore_server()
        await self.phone.sync()
        self.assertEqual(await self.phone.local_list(), ["a"])

    async def test_a_deletion_that_was_sent_before_a_backup_was_put_back(self) -> None:
        await put(self.phone, "a", "b")
        await self.phone.sync()
        await self.back_up_server()
        await self.stop_server()
        with self.assertRaises(RetriableTransferError):
            await self.phone.delete("a")
        await self.start_server()
        self.assertEqual(await self.phone.sync(), SyncResult(deleted=1))
        await self.restore_server()
        # It is there again: better once too often than lost.
        self.assertEqual(await self.phone.sync(), SyncResult(fetched=1))

    async def test_a_get_of_what_it_does_not_know_yet(self) -> None:
        server: Any = engine_of(self.phone).server
        answered, told, begun, compared = (Deferred[None]() for _ in range(4))
        ask, fetch = server.changes, server.download

        async def changes(*arguments: Any) -> Any:
            answer = await ask(*arguments)
            answered.callback(None)
            await told
            return answer

        async def download(*arguments: Any) -> None:
            if not begun.called:
                begun.callback(None)
            await compared
            await fetch(*arguments)

        self.patch(server, "changes", changes)
        self.patch(server, "download", download)
        comparing = self.phone.refresh_sync_status_from_server(full=True)
        await answered
        await put(self.laptop, "a")
        getting = self.phone.get("a")
        await begun
        told.callback(None)
        await comparing
        compared.callback(None)
        self.assertEqual((await getting).size, 100)

    async def test_another_server(self) -> None:
        await put(self.laptop, "a", "b", "c")
        await self.phone.sync()
        await self.stop_server()
        shutil.rmtree(self.data)
        await self.start_server()
        self.assertEqual(await self.phone.sync(), SyncResult(sent=3))

    async def test_from_time_to_time(self) -> None:
        await self.phone.close()
        await put(self.laptop, "a")
        now = 1e9
        phone = self.manager("other")
        beside = BlobsSynchronizer(engine_of(phone), lambda: now)
        await beside.sync()
        self.remove_from_server("a")
        for passed, sent in ((FULL_INTERVAL - 1, 0), (FULL_INTERVAL, 1)):
            now = 1e9 + passed
            self.assertEqual(await beside.sync(), SyncResult(sent=sent))
        self.remove_from_server("a")
        self.assertEqual(await beside.sync(), SyncResult())

    async def test_an_interrupted_one_goes_on(self) -> None:
        await put(self.laptop, *(f"{number}" for number in range(20)))
        server: Any = engine_of(self.phone).server
        honest, pages = server.changes, iter(range(3))

        async def changes(*arguments: Any) -> Any:
            if next(pages, None) is None:
                raise RetriableTransferError("cut")
            return await honest(*arguments, limit=5)

        self.patch(server, "changes", changes)
        with self.assertRaises(RetriableTransferError):
            await self.phone.sync()
        await self.phone.close()
        phone = self.manager("phone")
        self.note(phone, "changes")
        self.asked.clear()
        self.assertEqual(await phone.sync(), SyncResult(fetched=20))
        self.assertEqual(self.asked, ["changes"])


class DueTests(SynchronousTestCase):
    def test_when(self) -> None:
        for passed, due in (
            (0, False), (FULL_INTERVAL - 1, False), (FULL_INTERVAL, True), (1e9, True),
            # The clock was set back: a little, or nobody knows how much.
            (-DAY, False), (-DAY - 1, True), (-1e9, True),
        ):  # fmt: skip
            feed = FeedState("c1", is_comparing=False, compared=1e9)
            self.assertEqual(is_due(feed, 1e9 + passed), due, passed)
            # One is under way: it goes on.
            self.assertFalse(is_due(feed._replace(is_comparing=True), 1e9 + passed))


class OddServerTests(RawServerTestCase):
    """Servers that never come to an end."""

    def setUp(self) -> None:
        super().setUp()
        self.manager = BlobManager(
            os.path.abspath(self.mktemp()), self.url, KEY, SECRET, USER, "token"
        )
        self.addCleanup(self.manager.close)

    def tell(self, pages: Iterator[tuple[int, Any]]) -> None:
        def handle(server: Any, request: Any) -> None:
            fields = parse_qs(urlsplit(request.path).query)
            if "changes" in fields:
                code, answer = next(pages)
            else:
                code, answer = 200, []
            body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            server.answer(code, body)

        self.handle = handle

    async def test_a_circle(self) -> None:
        circle = ("c1", "c2", "c3")
        self.tell(
            (200, {"changes": [], "cursor": circle[number % 3], "more": True})
            for number in range(100)
        )
        with self.assertRaises(ServerError) as caught:
            await self.manager.sync()
        self.assertIn("again and again", str(caught.exception))
        self.assertLessEqual(len(self.requests), 5)

    async def test_nothing_for_ever(self) -> None:
        self.tell(
            (200, {"changes": [], "cursor": f"c{number}", "more": True}) for number in count()
        )
        with self.assertRaises(ServerError) as caught:
            await self.manager.sync()
        self.assertIn("again and again", str(caught.exception))

    async def test_every_cursor_is_refused(self) -> None:
        def pages() -> Iterator[tuple[int, Any]]:
            while True:
                yield 200, {"changes": [], "cursor": "c1", "more": True}
                yield 410, b"the cursor is of another history\n"

        self.tell(pages())
        with self.assertRaises(ServerError) as caught:
            await self.manager.sync()
        self.assertEqual(caught.exception.code, 410)
        self.assertLessEqual(len(self.requests), 5)

    async def test_a_page_that_is_wrong_changes_nothing(self) -> None:
        good = ["a", "A" * 22 + "==", 800, 1, []]
        self.tell(iter([(200, {"changes": [good, ["../b"]], "cursor": "c1", "more": False})]))
        with self.assertRaises(ServerError):
            await self.manager.sync()
        self.assertEqual(await self.manager.local_list_status(SyncStatus.PENDING_DOWNLOAD), [])
