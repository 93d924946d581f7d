"""What a catalogue has to do that several processes have at the same time."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred, gatherResults

from ...errors import BlobAlreadyExistsError, QuotaExceededError
from ...model import Flags
from ...server.storage.catalogue.interface import ICatalogue
from .catalogue_case import CatalogueCase, large, small
from .support import name, query, sealed

ROUNDS = 20
AT_ONCE = 20


class SharedContract(CatalogueCase):
    """
    Mixed into a TestCase that sets ``catalogue`` and ``other``, which are the same one, opened as
    two processes would.
    """

    other: ICatalogue

    async def test_of_many_at_once_one_wins(self) -> None:
        """Whichever process is asked, one of those who want a name gets it."""
        for number in range(ROUNDS):
            blobs = [small(name(str(number)), sealed(f"{it}")) for it in range(AT_ONCE)]
            outcomes = await gatherResults(
                [
                    (self.other if it % 2 else self.catalogue).publish([blob])
                    for it, blob in enumerate(blobs)
                ]
            )
            winners = [it for it, (error,) in zip(blobs, outcomes, strict=True) if error is None]
            self.assertEqual(len(winners), 1)
            for (error,) in outcomes:
                self.assertIsInstance(error, (BlobAlreadyExistsError, type(None)))
            for catalogue in (self.catalogue, self.other):
                (entry,) = await catalogue.find([name(str(number))], 1)
                self.assertEqual(entry and entry.content, winners[0].content)
        self.assertEqual(await self.other.count("alice", query()), ROUNDS)

    async def test_a_quota_holds_under_races(self) -> None:
        """Of many at once, as many are accepted as fit, in all namespaces together."""
        await self.other.set_quota("alice", 10 * 800)
        blobs = [small(name(str(it), namespace=f"n{it % 3}")) for it in range(4 * AT_ONCE)]
        outcomes = await gatherResults(
            [
                (self.other if it % 2 else self.catalogue).publish([blob])
                for it, blob in enumerate(blobs)
            ]
        )
        errors = [error for (error,) in outcomes]
        self.assertEqual(errors.count(None), 10)
        for error in errors:
            self.assertIsInstance(error, (QuotaExceededError, type(None)))
        self.assertEqual([it.size for it in await self.catalogue.usage()], [8000])

    async def test_nothing_comes_before_what_was_read(self) -> None:
        """Whatever is committed after reading, by whomever, has larger numbers."""
        seen: dict[int, str] = {}
        last = 0

        async def write(catalogue: ICatalogue, lane: int) -> None:
            for number in range(10):
                blob = name(f"{lane}-{number}")
                self.assertEqual(await catalogue.publish([small(blob)]), [None])
                await catalogue.set_flags(blob, [Flags.FAILED])

        writing = [write(it, lane) for lane, it in enumerate([self.catalogue, self.other] * 4)]
        done = gatherResults([Deferred.fromCoroutine(it) for it in writing])
        is_last_round = False
        while not is_last_round:
            is_last_round = bool(done.called)
            for change in await self.other.changes("alice", "default", last, 1000):
                self.assertGreater(change.number, last)
                last = change.number
                seen[change.number] = change.blob_id
        await done
        self.assertEqual(len(set(seen.values())), 80)
        # Each change took a number, and no number was left out.
        self.assertEqual((await self.catalogue.history("alice", "default")).number, 160)

    async def test_uploads_of_a_process_that_runs(self) -> None:
        """They go on when another one starts or stops."""
        await self.other.reserve(name("a"), "a" * 32, 1_000_000)
        await self.reopen()
        self.assertEqual(await self.catalogue.collect(10), [])
        await self.catalogue.close()
        self.assertEqual(await self.other.publish([large(name("a"), "a" * 32)]), [None])

    async def test_garbage_is_removed_by_one(self) -> None:
        """Who is told of a key has it alone, until it is forgotten or put off."""
        keys = [f"{it:032}" for it in range(40)]
        for key in keys:
            await self.catalogue.reserve(name("a"), key, 1)
            await self.other.abandon(key)
        told = await gatherResults(
            [it.collect(15) for it in (self.catalogue, self.other, self.catalogue, self.other)]
        )
        self.assertEqual(sorted(key for some in told for key in some), keys)
        await self.other.forget(keys)
        self.assertEqual(await self.catalogue.collect(100), [])

    async def test_waking_across_processes(self) -> None:
        """Whoever waits is woken by changes of other processes, and by no others."""
        elsewhere = self.catalogue.waking.wait("alice", "mail")
        for change in (
            lambda: self.other.publish([small(name("a"))]),
            lambda: self.other.set_flags(name("a"), [Flags.FAILED]),
            lambda: self.other.delete(name("a")),
        ):
            waiting = self.catalogue.waking.wait("alice", "default")
            await change()
            await waiting
        self.assertFalse(elsewhere.called)
        elsewhere.cancel()
        await self.assertFailure(elsewhere, CancelledError)

    async def test_a_generation_is_everybody_s(self) -> None:
        """A cursor of one process is good at another one, also at one that starts."""
        here = await self.catalogue.history("alice", "default")
        self.assertEqual(await self.other.history("alice", "default"), here)
        await self.reopen()
        await self.put(small(name("a")))
        history = await self.other.history("alice", "default", here.generation)
        self.assertEqual((history.number, history.reach), (1, 1))
