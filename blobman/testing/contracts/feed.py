"""What a backend has to say about changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from twisted.internet.defer import CancelledError

from ...errors import CursorExpiredError
from ...model import Flags, RemoteChange
from ...protocol import Cursor
from ...server.storage.interface import IBlobsBackend
from .support import name, sealed

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as Base
else:
    Base = object

MANY = 2_300
"""More than are read at once, twice."""


class Answer(NamedTuple):
    """What all parts say together."""

    changes: list[RemoteChange]
    cursor: Cursor
    more: bool

    @property
    def ids(self) -> str:
        """The ids, those that were deleted in capitals."""
        return "".join(it.blob_id.upper() if it.is_deleted else it.blob_id for it in self.changes)


class FeedContract(Base):
    """A part of the contract of a backend. Mixed into a TestCase that sets ``backend``, opened."""

    backend: IBlobsBackend

    async def put_all(self, ids: str, namespace: str = "default") -> None:
        """Put small blobs, each of one letter."""
        blobs = [(name(it, namespace=namespace), sealed(it)) for it in ids]
        self.assertEqual(await self.backend.store(blobs), [None] * len(ids))

    async def delete_all(self, ids: str) -> None:
        """Delete blobs, each of one letter."""
        for it in ids:
            await self.backend.delete(name(it))

    async def ask(
        self, cursor: Cursor | None = None, most: int = 10_000, namespace: str = "default"
    ) -> Answer:
        """Ask for changes, and put the parts together."""
        changes: list[RemoteChange] = []
        async for part in self.backend.changes("alice", namespace, cursor, most):
            changes += part.changes
            told = part.cursor, part.more
        self.assertLessEqual(len(changes), most)
        return Answer(changes, *told)

    async def test_nothing_has_changed(self) -> None:
        """A cursor is given all the same, and is good."""
        first = await self.ask()
        self.assertEqual((first.ids, first.more), ("", False))
        self.assertEqual(await self.ask(first.cursor), first)
        await self.put_all("a")
        self.assertEqual((await self.ask(first.cursor)).ids, "a")

    async def test_what_is_told_of_a_blob(self) -> None:
        """Its tag, its size, when it was put, and its flags."""
        before = await self.ask()
        await self.put_all("a")
        await self.backend.set_flags(name("a"), [Flags.FAILED, Flags.PENDING])
        (change,) = (await self.ask(before.cursor)).changes
        self.assertEqual(
            change._replace(date=0),
            RemoteChange("a", sealed("a")[-16:], 800, 0, (Flags.FAILED, Flags.PENDING)),
        )
        self.assertGreater(change.date, 1_000_000_000)

    async def test_each_id_at_its_latest_change(self) -> None:
        """Put, deleted, put again and flagged: each moves it to the end."""
        await self.put_all("abcd")
        since = (await self.ask()).cursor
        await self.put_all("ef")
        await self.delete_all("ae")
        await self.backend.set_flags(name("b"), [Flags.PENDING])
        await self.delete_all("c")
        await self.put_all("c")
        changed = await self.ask(since)
        self.assertEqual((changed.ids, changed.more), ("fAEbc", False))
        self.assertEqual((await self.ask(changed.cursor)).ids, "")

    async def test_from_the_start_without_deletions(self) -> None:
        """But for those that came while it was read page by page."""
        await self.put_all("abcdefg")
        await self.delete_all("af")
        page = await self.ask(None, 2)
        self.assertEqual((page.ids, page.more), ("bc", True))
        await self.delete_all("bd")
        rest = ""
        while page.more:
            page = await self.ask(Cursor.read(page.cursor.write()), 2)
            rest += page.ids
        self.assertEqual(rest, "egBD")
        await self.delete_all("e")
        self.assertEqual((await self.ask(page.cursor)).ids, "E")

    async def test_limits(self) -> None:
        """No answer has more, and only the last one says that there is no more."""
        await self.put_all("abcdef")
        for most, expected in ((1, "abcdef"), (4, "abcdef"), (6, "abcdef"), (7, "abcdef")):
            page = await self.ask(None, most)
            ids = page.ids
            while page.more:
                self.assertEqual(len(page.changes), most)
                page = await self.ask(page.cursor, most)
                ids += page.ids
            self.assertEqual(ids, expected)

    async def test_many_parts(self) -> None:
        """What changes while they are read comes later, and nothing twice."""
        await self.backend.store([(name(f"{it}"), sealed()) for it in range(MANY)])
        parts = self.backend.changes("alice", "default", None, 10_000)
        changes = (first := await anext(parts)).changes
        self.assertTrue(first.more)
        for it in (0, MANY - 1):
            await self.backend.set_flags(name(f"{it}"), [Flags.FAILED])
        await self.put_all("x")
        async for part in parts:
            self.assertTrue(part.changes)
            changes = changes + part.changes
        self.assertFalse(part.more)
        self.assertEqual([it.blob_id for it in changes], [f"{it}" for it in range(MANY - 1)])
        rest = await self.ask(part.cursor)
        self.assertEqual([it.blob_id for it in rest.changes], ["0", f"{MANY - 1}", "x"])

    async def test_other_users_and_namespaces(self) -> None:
        """Each namespace has a feed of its own."""
        await self.put_all("a", "mail")
        await self.backend.store([(name("b", "bob"), sealed())])
        self.assertEqual((await self.ask()).ids, "")
        self.assertEqual((await self.ask(namespace="mail")).ids, "a")

    async def test_cursors_of_other_histories(self) -> None:
        """Neither those of an unknown generation, nor those that are ahead of this one."""
        await self.put_all("abc")
        good = (await self.ask()).cursor
        for cursor in (
            good._replace(generation="other"),
            good._replace(number=good.number + 1),
            good._replace(number=0, began=good.number + 1),
        ):
            with self.assertRaises(CursorExpiredError):
                await self.ask(cursor)
        self.assertEqual((await self.ask(good._replace(number=0))).ids, "abc")

    async def test_waiting_for_a_change(self) -> None:
        """It fires after one, and can be cancelled."""
        changed = self.backend.changed("alice", "default")
        other = self.backend.changed("alice", "mail")
        self.assertFalse(changed.called)
        await self.put_all("a")
        await changed
        other.cancel()
        await self.assertFailure(other, CancelledError)
        last = self.backend.changed("alice", "default")
        await self.backend.close()
        await last

    async def test_namespaces_of_a_user(self) -> None:
        """Those that have blobs, page by page."""
        await self.put_all("ab")
        await self.put_all("a", "mail")
        await self.backend.store([(name("a", namespace=f"n{it}"), sealed()) for it in range(1500)])
        await self.backend.delete(name("a", namespace="n7"))
        counts: dict[str, int] = {}
        async for page in self.backend.namespaces("alice"):
            self.assertTrue(page)
            counts.update(page)
        self.assertEqual(len(counts), 1501)
        self.assertEqual((counts["default"], counts["mail"], counts["n8"]), (2, 1, 1))
        self.assertEqual([it async for it in self.backend.namespaces("bob")], [])
