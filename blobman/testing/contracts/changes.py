"""What a catalogue has to say about the order of changes."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred, gatherResults

from ...errors import (
    BlobAlreadyExistsError,
    BlobNotFoundError,
)
from ...model import Flags
from ...server.storage.catalogue.interface import History
from .catalogue_case import CatalogueCase, large, small
from .support import name, sealed


class ChangesContract(CatalogueCase):
    """A part of the contract of a catalogue."""

    async def test_changes(self) -> None:
        """Each id is listed once, at its latest change."""
        await self.put(*[small(name(it)) for it in "abc"])
        self.assertEqual(await self.changed(), [("a", True), ("b", True), ("c", True)])
        await self.catalogue.delete(name("a"))
        await self.catalogue.set_flags(name("b"), [Flags.FAILED])
        self.assertEqual(await self.changed(), [("c", True), ("a", False), ("b", True)])
        await self.put(small(name("a"), sealed("new")))
        self.assertEqual(await self.changed(), [("c", True), ("b", True), ("a", True)])
        last = (await self.catalogue.changes("alice", "default", 0, 100))[-1]
        self.assertEqual((last.size, last.tag), (800, sealed("new")[-16:]))
        history = await self.catalogue.history("alice", "default")
        self.assertEqual(history.number, last.number)
        self.assertEqual(await self.catalogue.changes("alice", "mail", 0, 100), [])

    async def test_changes_in_pages(self) -> None:
        """They can be read some at a time."""
        await self.put(*[small(name(str(it))) for it in range(10)])
        await self.catalogue.delete(name("3"))
        ids, after = [], 0
        while some := await self.catalogue.changes("alice", "default", after, 3):
            ids += [change.blob_id for change in some]
            after = some[-1].number
        self.assertEqual(ids, [*"012456789", "3"])

    async def test_what_was_deleted_keeps_its_tag(self) -> None:
        """A deletion says which blob it was of."""
        await self.put(small(name("a"), sealed("first")))
        await self.catalogue.delete(name("a"))
        (change,) = await self.catalogue.changes("alice", "default", 0, 100)
        self.assertEqual((change.size, change.tag), (None, sealed("first")[-16:]))

    async def test_nothing_comes_before_what_was_read(self) -> None:
        """With many writers, whatever is committed after reading has larger numbers."""
        seen: dict[int, str] = {}
        last = 0

        async def write(lane: int) -> None:
            for number in range(5):
                await self.put(small(name(f"{lane}-{number}")))

        writing = gatherResults([Deferred.fromCoroutine(write(lane)) for lane in range(8)])
        while len(seen) < 40:
            for change in await self.catalogue.changes("alice", "default", last, 7):
                self.assertGreater(change.number, last)
                last = change.number
                seen[change.number] = change.blob_id
        await writing
        self.assertEqual(len(set(seen.values())), 40)

    async def test_history(self) -> None:
        """It says where a namespace stands, and how much is known of it with a generation."""
        ask = self.catalogue.history
        generation = (await ask("alice", "default")).generation
        self.assertEqual(await ask("alice", "default"), History(generation, 0, None))
        self.assertEqual(await ask("alice", "default", generation), History(generation, 0, 0))
        await self.put(*[small(name(it)) for it in "ab"])
        await self.put(small(name("c", namespace="mail")), small(name("d", user="bob")))
        for namespace in ("default", "mail"):
            last = (await self.catalogue.changes("alice", namespace, 0, 100))[-1].number
            history = History(generation, last, last)
            self.assertEqual(await ask("alice", namespace, generation), history)
        self.assertEqual(await ask("alice", "none", generation), History(generation, 0, 0))
        self.assertEqual(await ask("alice", "default", "other"), History(generation, 2, None))

    async def test_changes_between_two_numbers(self) -> None:
        """Deletions can be left out that are older."""
        await self.put(*[small(name(it)) for it in "abcdef"])
        for it in "abcd":
            await self.catalogue.delete(name(it))
        last = (await self.catalogue.history("alice", "default")).number
        for after, upto, deleted_after, expected in (
            (0, last, 0, "efabcd"),
            (0, last - 1, 0, "efabc"),
            (0, last, last - 2, "efcd"),
            (last - 1, last, last - 2, "d"),
            (last - 2, last - 1, last - 2, "c"),
            (last, last, 0, ""),
        ):
            found = await self.catalogue.changes(
                "alice", "default", after, 100, upto, deleted_after
            )
            self.assertEqual("".join(it.blob_id for it in found), expected)

    async def test_namespaces(self) -> None:
        """Those are listed that have blobs, with how many, in pages."""
        self.assertEqual(await self.catalogue.namespaces("alice"), {})
        for namespace, ids in (("default", "ab"), ("mail", "abc"), ("B", "a"), ("gone", "a")):
            await self.put(*[small(name(it, namespace=namespace)) for it in ids])
        await self.put(small(name("a", "bob", "bobs")))
        await self.catalogue.delete(name("a", namespace="gone"))
        counts = {"B": 1, "default": 2, "mail": 3}
        self.assertEqual(await self.catalogue.namespaces("alice"), counts)
        self.assertEqual(await self.catalogue.namespaces("alice", "", 2), {"B": 1, "default": 2})
        self.assertEqual(await self.catalogue.namespaces("alice", "default", 2), {"mail": 3})
        self.assertEqual(await self.catalogue.namespaces("alice", "mail"), {})

    # -- waking ------------------------------------------------------------------------

    async def test_waking(self) -> None:
        """Whoever waits in a namespace is woken by each kind of change in it, and no other."""
        wait = self.catalogue.waking.wait
        others = [wait("bob", "default"), wait("alice", "mail")]
        await self.catalogue.reserve(name("b"), "0" * 32, 1_000_000)
        for change in (
            lambda: self.catalogue.publish([small(name("a"))]),
            lambda: self.catalogue.set_flags(name("a"), [Flags.FAILED]),
            lambda: self.catalogue.delete(name("a")),
            lambda: self.catalogue.publish([large(name("b"), "0" * 32)]),
        ):
            waiting = [wait("alice", "default"), wait("alice", "default")]
            await change()
            await gatherResults(waiting)
        for other in others:
            self.assertFalse(other.called)
            other.cancel()
            await self.assertFailure(other, CancelledError)

    async def test_what_changes_nothing_wakes_nobody(self) -> None:
        """What was refused, and what is written beside."""
        await self.put(small(name("a")))
        waiting = self.catalogue.waking.wait("alice", "default")
        (error,) = await self.catalogue.publish([small(name("a"))])
        self.assertIsInstance(error, BlobAlreadyExistsError)
        await self.assertFailure(self.catalogue.delete(name("x")), BlobNotFoundError)
        await self.catalogue.reserve(name("b"), "0" * 32, 1_000_000)
        await self.catalogue.check_writing()
        self.assertFalse(waiting.called)
        await self.catalogue.close()
        # It is told, too, when nothing more will be.
        await waiting
