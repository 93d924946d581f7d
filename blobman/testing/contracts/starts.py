"""What a catalogue has to do when it is started, if one process at a time has it."""

from __future__ import annotations

from ...server.storage.catalogue.interface import History
from .catalogue_case import CatalogueCase, small
from .support import name


class StartsContract(CatalogueCase):
    """
    Mixed into a TestCase that sets ``catalogue``, opened: one whose starts are generations, and
    which takes whatever another process has left for its own.
    """

    async def generation(self) -> str:
        """Name the latest generation."""
        return (await self.catalogue.history("alice", "default")).generation

    async def test_generations(self) -> None:
        """Each start that changes something is a generation, from its first change on."""
        first = await self.generation()
        await self.put(small(name("a")), small(name("b")))
        before = await self.catalogue.history("alice", "default", first)
        self.assertEqual(before, History(first, 2, 2))
        await self.reopen()
        self.assertEqual(await self.generation(), first)
        await self.put(small(name("c")))
        second = await self.generation()
        self.assertNotEqual(first, second)
        after = await self.catalogue.history("alice", "default", first)
        self.assertEqual(after, History(second, 3, before.number))

    async def test_a_generation_without_changes(self) -> None:
        """Cursors name it, so it stays; the next start takes numbers behind it."""
        first = await self.generation()
        await self.reopen()
        await self.put(small(name("a")))
        second = await self.generation()
        history = await self.catalogue.history("alice", "default", first)
        self.assertEqual(history, History(second, 2, 1))

    async def test_how_far_a_generation_reaches(self) -> None:
        """It is known up to the last number before the next one."""
        first = await self.generation()
        ask = self.catalogue.history
        await self.put(*[small(name(it)) for it in "ab"])
        await self.put(small(name("c", namespace="mail")), small(name("d", user="bob")))
        await self.reopen()
        await self.put(small(name("e")))
        second = await self.generation()
        self.assertEqual(await ask("alice", "default", first), History(second, 5, 4))
        self.assertEqual(await ask("alice", "mail", second), History(second, 3, 3))

    async def test_uploads_of_an_earlier_process(self) -> None:
        """They have ended, their space is free, and their payloads are garbage."""
        await self.catalogue.set_quota("alice", 1000)
        await self.catalogue.reserve(name("a"), "a" * 32, 1000)
        await self.reopen()
        self.assertEqual(await self.catalogue.collect(10), ["a" * 32])
        await self.put(small(name("b")))
