"""What a catalogue has to do."""

from __future__ import annotations

import secrets

from twisted.internet.defer import gatherResults
from zope.interface.verify import verifyObject

from ...errors import (
    BlobAlreadyExistsError,
    BlobNotFoundError,
    ClosedError,
    QuotaExceededError,
    StoreError,
)
from ...model import Flags
from ...protocol import ListQuery
from ...server.storage.catalogue.interface import ICatalogue
from ...server.storage.interface import BlobName, UnavailableError
from .catalogue_case import large, small
from .changes import ChangesContract
from .support import name, query, sealed

AT_ONCE = 40


class CatalogueContract(ChangesContract):
    """Mixed into a TestCase that sets ``catalogue``, opened."""

    # -- blobs -----------------------------------------------------------------------

    async def test_interface(self) -> None:
        """It has what its interface says."""
        verifyObject(ICatalogue, self.catalogue)
        await self.catalogue.check_writing()

    async def test_publish_and_find(self) -> None:
        """What was published is found; what was not is None."""
        content = sealed("a")
        await self.put(small(name("a"), content))
        await self.catalogue.reserve(name("b"), "0" * 32, 1_000_000)
        await self.put(large(name("b"), "0" * 32))
        entry = await self.find(name("a"))
        assert entry is not None
        self.assertEqual((entry.size, entry.tag), (800, content[-16:]))
        self.assertEqual((entry.content, entry.key, entry.digests), (content, None, b""))
        entry = await self.find(name("b"))
        assert entry is not None
        self.assertEqual((entry.content, entry.key), (None, "0" * 32))
        self.assertEqual((entry.size, entry.digests), (1_000_000, b"d" * 64))
        self.assertIsNone(await self.find(name("c")))
        self.assertIsNone(await self.find(name("a", namespace="mail")))

    async def test_find_some(self) -> None:
        """Names are looked up until there is enough, or with the first payload."""
        await self.put(*[small(name(it)) for it in "abc"])
        await self.catalogue.reserve(name("l"), "1" * 32, 1_000_000)
        await self.put(large(name("l"), "1" * 32))
        names = [name(it) for it in "axbclc"]
        for most, number in ((1, 1), (800, 1), (801, 3), (1601, 4), (2401, 5), (10**9, 5)):
            found = await self.catalogue.find(names, most)
            self.assertEqual(len(found), number)
            self.assertEqual([it is None for it in found], [n == 1 for n in range(number)])

    async def test_find_many(self) -> None:
        """However many names are looked up, what is found is in their order."""
        names = [name(f"n{number}") for number in range(100)]
        await self.put(*[small(it) for it in names if not it.blob_id.endswith("7")])
        found = await self.catalogue.find(names[::-1], 10**9)
        self.assertEqual(
            [it and it.content for it in found],
            [None if it.blob_id.endswith("7") else sealed(it.blob_id) for it in names[::-1]],
        )
        found = await self.catalogue.find(names, 800 * 54)
        self.assertEqual(len(found), 60)

    async def test_the_same_id_elsewhere_is_another_blob(self) -> None:
        """Users and namespaces do not meet."""
        places = [name("a"), name("a", namespace="mail"), name("a", user="bob")]
        await self.put(*[small(it, sealed(str(it))) for it in places])
        await self.catalogue.delete(places[1])
        for place in places:
            entry = await self.find(place)
            expected = None if place is places[1] else sealed(str(place))
            self.assertEqual(entry and entry.content, expected)

    async def test_many_ids_at_once(self) -> None:
        """Any number of blobs can be published together."""
        for number in (1, 2, 3, 5, 63, 64, 65, 200):
            await self.put(*[small(name(f"{number}-{it}")) for it in range(number)])
        self.assertEqual(await self.catalogue.count("alice", query()), 403)

    async def test_of_many_at_once_one_wins(self) -> None:
        """One of those who want a name gets it, and it is its content that is found."""
        blobs = [small(name("a"), sealed(str(number))) for number in range(AT_ONCE)]
        outcomes = await gatherResults([self.catalogue.publish([it]) for it in blobs])
        winners = [it for it, (error,) in zip(blobs, outcomes, strict=True) if error is None]
        self.assertEqual(len(winners), 1)
        for (error,) in outcomes:
            self.assertIsInstance(error, (BlobAlreadyExistsError, type(None)))
        entry = await self.find(name("a"))
        self.assertEqual(entry and entry.content, winners[0].content)
        self.assertEqual(await self.catalogue.count("alice", query()), 1)

    async def test_a_name_twice_in_one_call(self) -> None:
        """The first one wins."""
        blobs = [small(name("a"), sealed("1")), small(name("a"), sealed("2")), small(name("b"))]
        first, second, third = await self.catalogue.publish(blobs)
        self.assertEqual((first, third), (None, None))
        self.assertIsInstance(second, BlobAlreadyExistsError)
        entry = await self.find(name("a"))
        self.assertEqual(entry and entry.content, sealed("1"))

    async def test_requests_fail_one_by_one(self) -> None:
        """What is committed together fails, and succeeds, by itself."""
        await self.put(small(name("there")))
        first = self.catalogue.publish([small(name("new"))])
        missing = self.catalogue.delete(name("missing"))
        taken = self.catalogue.publish([small(name("there"))])
        flagged = self.catalogue.set_flags(name("there"), [Flags.FAILED])
        not_flagged = self.catalogue.set_flags(name("missing"), [Flags.FAILED])
        last = self.catalogue.publish([small(name("newer"))])
        await self.assertFailure(missing, BlobNotFoundError)
        await self.assertFailure(not_flagged, BlobNotFoundError)
        await flagged
        self.assertEqual((await first, await last), ([None], [None]))
        self.assertIsInstance((await taken)[0], BlobAlreadyExistsError)
        self.assertEqual(await self.ids(), ["new", "newer", "there"])
        self.assertEqual(await self.catalogue.get_flags(name("there")), [Flags.FAILED])

    async def test_flags(self) -> None:
        """Flags come back in their order, and are gone with their blob."""
        await self.put(small(name("a"), None, Flags.PENDING), small(name("b")))
        self.assertEqual(await self.catalogue.get_flags(name("a")), [Flags.PENDING])
        self.assertEqual(await self.catalogue.get_flags(name("b")), [])
        flags = [Flags.PROCESSED, Flags.FAILED]
        await self.catalogue.set_flags(name("b"), flags)
        self.assertEqual(await self.catalogue.get_flags(name("b")), flags)
        await self.catalogue.delete(name("b"))
        await self.assertFailure(self.catalogue.get_flags(name("b")), BlobNotFoundError)
        await self.put(small(name("b")))
        self.assertEqual(await self.catalogue.get_flags(name("b")), [])

    # -- lists -------------------------------------------------------------------------

    async def test_pages(self) -> None:
        """Pages of any size make the same list, in every order."""
        ids = [f"{number * 7 % 20:02}" for number in range(20)]
        for it in ids:
            await self.put(small(name(it)))
        for it in ids[:5]:
            await self.catalogue.set_flags(name(it), [Flags.PENDING])
        for most in (1, 3, 19, 20, 21):
            self.assertEqual(await self.ids(most), sorted(ids))
            self.assertEqual(await self.ids(most, order_by="date"), ids)
            self.assertEqual(await self.ids(most, order_by="+date"), ids)
            self.assertEqual(await self.ids(most, order_by="-date"), ids[::-1])
            self.assertEqual(await self.ids(most, flag=Flags.PENDING), sorted(ids[:5]))
            self.assertEqual(await self.ids(most, flag=Flags.PENDING, order_by="date"), ids[:5])
            self.assertEqual(await self.ids(most, flag=Flags.FAILED), [])

    async def test_changes_between_pages(self) -> None:
        """What is there all the time is listed once, whatever comes and goes between two pages."""
        for number in range(10):
            await self.put(small(name(str(number))))
        for order in (None, "date", "-date"):
            asked = query(order_by=order)
            page = await self.catalogue.page("alice", asked, None, 5)
            await self.catalogue.delete(name(page.ids[4]))
            await self.put(small(name(f"{page.ids[4]}x")))
            rest = await self.catalogue.page("alice", asked, page.after, 100)
            listed = page.ids + rest.ids
            self.assertEqual(len(listed), len(set(listed)))
            self.assertLessEqual(set(await self.ids()) - {f"{page.ids[4]}x"}, set(listed))

    async def test_counts_are_those_of_the_lists(self) -> None:
        """A count says how long the list is, whatever was done."""
        await self.put(*[small(name(it), None, Flags.PENDING) for it in "abcdef"])
        await self.put(*[small(name(it, namespace="mail")) for it in "ab"])
        for it in "abcd":
            await self.catalogue.delete(name(it))
        await self.put(small(name("a")), small(name("b")))
        await self.catalogue.delete(name("b"))
        for asked, number in (
            (query(), 3),
            (query(deleted=True), 4),
            (query(flag=Flags.PENDING), 2),
            (query(deleted=True, flag=Flags.PENDING), 0),
            (query(namespace="mail"), 2),
            (query(namespace="mail", deleted=True), 0),
            (query(namespace="none"), 0),
        ):
            self.assertEqual(await self.catalogue.count("alice", asked), number, asked)
            page = await self.catalogue.page("alice", asked, None, 100)
            self.assertEqual(len(page.ids), number, asked)
        self.assertEqual(await self.ids(deleted=True), ["a", "b", "c", "d"])

    # -- what stays --------------------------------------------------------------------

    async def test_what_is_durable(self) -> None:
        """All is there when it is opened again."""
        if not self.outlives_its_process:
            return
        await self.put(*[small(name(it)) for it in "abc"])
        await self.catalogue.delete(name("a"))
        await self.catalogue.set_flags(name("b"), [Flags.FAILED])
        await self.catalogue.set_quota("alice", 2000)
        await self.reopen()
        self.assertEqual(await self.ids(), ["b", "c"])
        self.assertEqual(await self.ids(deleted=True), ["a"])
        self.assertEqual(await self.changed(), [("c", True), ("a", False), ("b", True)])
        self.assertEqual((await self.catalogue.usage())[0], ("alice", 2, 1600, 2000))
        entry = await self.find(name("b"))
        self.assertEqual(entry and entry.content, sealed("b"))

    # -- space -------------------------------------------------------------------------

    async def test_usage(self) -> None:
        """It is what the blobs have, of all namespaces."""
        await self.put(small(name("a")), small(name("a", namespace="mail"), sealed(size=900)))
        await self.put(small(name("a", user="bob")))
        await self.catalogue.set_quota(None, 10_000)
        await self.catalogue.set_quota("bob", None)
        self.assertEqual(
            await self.catalogue.usage(), [("alice", 2, 1700, 10_000), ("bob", 1, 800, None)]
        )
        await self.catalogue.delete(name("a", user="bob"))
        self.assertEqual(await self.catalogue.usage(), [("alice", 2, 1700, 10_000)])
        await self.catalogue.unset_quota("bob")
        self.assertEqual(await self.catalogue.quotas(), (10_000, {}))

    async def test_a_quota_holds_under_races(self) -> None:
        """Of many at once, as many are accepted as fit, and not one more."""
        await self.catalogue.set_quota("alice", 10 * 800)
        small_ones = [self.catalogue.publish([small(name(str(it)))]) for it in range(AT_ONCE)]
        outcomes = [error for (error,) in await gatherResults(small_ones)]
        self.assertEqual(outcomes.count(None), 10)
        for error in outcomes:
            self.assertIsInstance(error, (QuotaExceededError, type(None)))
        self.assertEqual([it.size for it in await self.catalogue.usage()], [8000])

    async def test_what_is_reserved_counts(self) -> None:
        """An upload has its space from its beginning; it is free again when it is abandoned."""
        await self.catalogue.set_quota("alice", 1000)
        await self.catalogue.reserve(name("a"), "a" * 32, 900)
        await self.assertFailure(
            self.catalogue.reserve(name("b"), "b" * 32, 101), QuotaExceededError
        )
        (error,) = await self.catalogue.publish([small(name("c"))])
        self.assertIsInstance(error, QuotaExceededError)
        await self.assertFailure(self.catalogue.extend("a" * 32, 1001), QuotaExceededError)
        await self.catalogue.extend("a" * 32, 1000)
        self.assertIs(await self.catalogue.abandon("a" * 32), True)
        await self.put(small(name("c")))

    async def test_a_quota_that_is_lowered_meanwhile(self) -> None:
        """What was reserved can be published all the same, and nothing else."""
        await self.catalogue.reserve(name("a"), "a" * 32, 1_000_000)
        await self.catalogue.set_quota("alice", 1000)
        await self.put(large(name("a"), "a" * 32))
        (error,) = await self.catalogue.publish([small(name("b"))])
        self.assertIsInstance(error, QuotaExceededError)

    async def test_a_reservation_becomes_used(self) -> None:
        """What was published is counted once, and what was reserved too much is free."""
        await self.catalogue.set_quota("alice", 10_000)
        await self.catalogue.reserve(name("a"), "a" * 32, 9000)
        await self.put(large(name("a"), "a" * 32, 5000))
        self.assertEqual((await self.catalogue.usage())[0].size, 5000)
        await self.catalogue.reserve(name("b"), "b" * 32, 5000)
        await self.assertFailure(self.catalogue.reserve(name("c"), "c" * 32, 1), QuotaExceededError)

    # -- uploads and garbage -----------------------------------------------------------

    async def test_a_name_that_is_taken_can_not_be_reserved(self) -> None:
        """The sooner it is told, the better."""
        await self.put(small(name("a")))
        await self.assertFailure(
            self.catalogue.reserve(name("a"), "a" * 32, 1), BlobAlreadyExistsError
        )

    async def test_of_two_uploads_one_wins(self) -> None:
        """The payload of the other one is garbage."""
        for key in "ab":
            await self.catalogue.reserve(name("x"), key * 32, 1_000_000)
        outcomes = await gatherResults(
            [self.catalogue.publish([large(name("x"), key * 32)]) for key in "ab"]
        )
        self.assertEqual([error is None for (error,) in outcomes], [True, False])
        self.assertIs(await self.catalogue.abandon("a" * 32), False)
        self.assertIs(await self.catalogue.abandon("b" * 32), True)
        self.assertEqual(await self.catalogue.collect(10), ["b" * 32])
        await self.catalogue.forget(["b" * 32])
        self.assertEqual(await self.catalogue.collect(10), [])

    async def test_a_payload_that_may_still_turn_up(self) -> None:
        """It is garbage once more, after a time; and is forgotten then."""
        key = "a" * 32
        await self.catalogue.reserve(name("x"), key, 1_000_000)
        await self.catalogue.abandon(key)
        # Two may have removed it at the same time.
        for _ in range(2):
            await self.catalogue.forget([key], late=1000)
            self.assertEqual(await self.catalogue.collect(10), [])
            self.assertEqual(await self.catalogue.claimed_keys(), [key])
        self.assertIs(await self.catalogue.abandon(key), False)

    async def test_one_that_did_not_turn_up(self) -> None:
        """Once its time has come, and it has been removed again, it is forgotten."""
        key = "a" * 32
        await self.catalogue.reserve(name("x"), key, 1_000_000)
        await self.catalogue.abandon(key)
        await self.catalogue.forget([key], late=-1000)
        self.assertEqual(await self.catalogue.collect(10), [key])
        await self.catalogue.forget([key], late=1000)
        self.assertEqual(await self.catalogue.claimed_keys(), [])

    async def test_what_payloads_are_known(self) -> None:
        """They are listed page by page: of blobs, and of what is none yet, or no more."""
        names = [name(it, namespace=space) for space in ("default", "mail") for it in "abcde"]
        keys = {it: secrets.token_hex(16) for it in names}
        await self.put(small(name("small")))
        for it, key in keys.items():
            await self.catalogue.reserve(it, key, 1000)
        claimed: list[str] = []
        while some := await self.catalogue.claimed_keys(claimed[-1] if claimed else "", 3):
            claimed += some
        self.assertEqual(claimed, sorted(keys.values()))
        await self.put(*[large(it, key, 1000) for it, key in keys.items()])
        await self.catalogue.delete(names[0])
        self.assertEqual(await self.catalogue.claimed_keys(), [keys[names[0]]])
        found: dict[BlobName, str] = {}
        after = None
        while rows := await self.catalogue.payload_rows(after, 4):
            found |= {row.name: row.key for row in rows}
            self.assertEqual({row.size for row in rows}, {1000})
            after = rows[-1].place
        del keys[names[0]]
        self.assertEqual(found, keys)

    async def test_the_mark_of_its_store(self) -> None:
        """The first one that is noted stays."""
        self.assertIsNone(await self.catalogue.store_mark())
        self.assertEqual(await self.catalogue.note_store_mark("a"), ("a", False))
        self.assertEqual(await self.catalogue.note_store_mark("b"), ("a", False))
        await self.catalogue.confirm_store_mark()
        self.assertEqual(await self.catalogue.store_mark(), ("a", True))
        self.assertEqual(await self.catalogue.note_store_mark("b"), ("a", True))

    async def test_payloads_that_are_elsewhere_already(self) -> None:
        """No store is noted beside the one that has them."""
        await self.catalogue.reserve(name("a"), "a" * 32, 1_000_000)
        await self.put(large(name("a"), "a" * 32))
        await self.assertFailure(self.catalogue.note_store_mark("a"), StoreError)
        self.assertIsNone(await self.catalogue.store_mark())

    async def test_an_upload_that_has_ended_can_not_be_published(self) -> None:
        """Nor can it be prolonged."""
        await self.catalogue.reserve(name("x"), "a" * 32, 1_000_000)
        await self.catalogue.abandon("a" * 32)
        await self.catalogue.renew(["a" * 32])
        (error,) = await self.catalogue.publish([large(name("x"), "a" * 32)])
        self.assertIsInstance(error, UnavailableError)
        await self.assertFailure(self.catalogue.extend("a" * 32, 2_000_000), UnavailableError)
        self.assertIsNone(await self.find(name("x")))

    async def test_the_payload_of_a_deleted_blob(self) -> None:
        """It is not removed before those have read it who are about to."""
        key = secrets.token_hex(16)
        await self.catalogue.reserve(name("a"), key, 1_000_000)
        await self.put(large(name("a"), key))
        await self.catalogue.delete(name("a"))
        self.assertEqual(await self.catalogue.collect(10), [])
        self.assertIs(await self.catalogue.abandon(key), False)

    async def test_closed(self) -> None:
        """Nothing can be asked any more."""
        await self.catalogue.close()
        await self.catalogue.close()
        await self.assertFailure(self.catalogue.find([name("a")], 1), ClosedError)
        await self.assertFailure(self.catalogue.publish([small(name("a"))]), ClosedError)
        await self.assertFailure(self.catalogue.count("alice", ListQuery("default")), ClosedError)
