"""What is removed, and when; and what is left alone."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from blobman.errors import BlobAlreadyExistsError, StoreError
from blobman.server.storage.backend import Backend
from blobman.server.storage.catalogue.interface import LEASE, POSTPONED
from blobman.server.storage.catalogue.sqlite import SQLiteCatalogue
from blobman.server.storage.interface import IUpload, UnavailableError
from blobman.server.storage.janitor import AT_ONCE, EVERY
from blobman.server.storage.payloads.interface import LINGER
from blobman.server.storage.payloads.memory import MemoryPayloads
from blobman.testing.contracts.support import name, sealed

SIZE = 200_000


class JanitorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.ahead = 0
        self.catalogue = SQLiteCatalogue(now=lambda: int((self.clock.seconds() + self.ahead) * 1e9))
        self.payloads = MemoryPayloads()
        self.backend = Backend(self.catalogue, self.payloads, self.clock)
        self.successResultOf(self.backend.open())

    def tearDown(self) -> None:
        self.successResultOf(self.backend.close())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def receive(self, blob_id: str) -> IUpload:
        upload = self.successResultOf(self.backend.receive(name(blob_id), SIZE))
        self.successResultOf(upload.write([sealed(blob_id, SIZE)]))
        return upload

    def put(self, blob_id: str) -> None:
        self.successResultOf(self.receive(blob_id).publish())

    def pass_time(self, seconds: float) -> None:
        self.clock.pump([EVERY] * int(seconds / EVERY + 1))

    def test_what_was_deleted(self) -> None:
        self.put("a")
        self.put("b")
        self.successResultOf(self.backend.delete(name("a")))
        self.assertEqual(len(self.payloads.contents), 2)
        self.pass_time(LINGER)
        self.assertEqual(len(self.payloads.contents), 1)
        self.pass_time(2 * LEASE)
        self.assertEqual(len(self.payloads.contents), 1)
        self.assertEqual(self.successResultOf(self.backend.read(name("b"))).size, SIZE)

    def test_what_is_discarded_and_who_loses(self) -> None:
        first, second, third = self.receive("a"), self.receive("a"), self.receive("b")
        self.successResultOf(first.publish())
        self.failureResultOf(second.publish(), BlobAlreadyExistsError)
        self.successResultOf(third.discard())
        self.assertEqual(len(self.payloads.contents), 1)
        self.assertEqual(self.successResultOf(self.catalogue.collect(10)), [])

    def test_what_takes_long_is_left_alone(self) -> None:
        upload = self.receive("a")
        self.pass_time(10 * LEASE)
        self.successResultOf(upload.publish())
        self.assertEqual(self.successResultOf(self.backend.read(name("a"))).size, SIZE)

    def test_a_clock_that_was_ahead_for_a_moment(self) -> None:
        self.put("a")
        self.ahead = 1_000_000_000
        self.receive("b")
        self.successResultOf(self.backend.delete(name("a")))
        self.ahead = 0
        self.backend.uploads.clear()
        self.pass_time(max(LEASE, LINGER, POSTPONED) + EVERY)
        self.assertEqual(self.payloads.contents, {})

    def test_whom_nobody_remembers(self) -> None:
        """A process that shares the catalogue was killed."""
        upload = self.receive("a")
        self.backend.uploads.clear()
        self.pass_time(LEASE + EVERY)
        self.assertEqual(self.payloads.contents, {})
        self.failureResultOf(upload.publish(), UnavailableError)

    def test_what_can_not_be_removed_now(self) -> None:
        warnings: list[str] = []
        self.patch(Logger, "warn", lambda _, text, **fields: warnings.append(text.format(**fields)))
        self.put("a")
        self.successResultOf(self.backend.delete(name("a")))
        gone = UnavailableError("gone")
        patch = self.patch(self.payloads, "remove", lambda keys: succeed(dict.fromkeys(keys, gone)))
        self.pass_time(LINGER)
        self.assertEqual(warnings, ["A payload can't be removed: gone"])
        patch.restore()
        self.pass_time(POSTPONED)
        self.assertEqual(self.payloads.contents, {})

    def test_what_can_not_be_removed_is_in_no_others_way(self) -> None:
        self.patch(Logger, "warn", lambda *_, **__: None)
        for number in range(3 * AT_ONCE):
            self.put(str(number))
        stuck = set(self.payloads.contents)
        for number in range(3 * AT_ONCE):
            self.successResultOf(self.backend.delete(name(str(number))))
        self.put("a")
        remove = self.payloads.remove

        def remove_others(keys: Sequence[str]) -> Deferred[dict[str, StoreError]]:
            remove([key for key in keys if key not in stuck])
            return succeed({key: UnavailableError("not ours") for key in keys if key in stuck})

        self.patch(self.payloads, "remove", remove_others)
        self.successResultOf(self.backend.delete(name("a")))
        self.pass_time(LINGER)
        self.assertEqual(set(self.payloads.contents), stuck)

    def test_what_turns_up_late(self) -> None:
        """An object store may still take what was sent by who has given up."""
        self.patch(self.payloads, "late", int(5 * EVERY))
        upload = self.receive("a")
        (key,) = self.payloads.contents
        self.successResultOf(upload.discard())
        self.assertEqual(self.payloads.contents, {})
        self.payloads.contents[key] = bytearray(b"late")
        self.pass_time(EVERY)
        self.assertEqual([*self.payloads.contents], [key])
        self.pass_time(5 * EVERY)
        self.assertEqual(self.payloads.contents, {})

    def test_what_is_kept_longer(self) -> None:
        """As long as a backup of the catalogue may have to find it."""
        catalogue = SQLiteCatalogue(now=lambda: int(self.clock.seconds() * 1e9), linger=10_000)
        self.successResultOf(self.backend.close())
        self.catalogue = catalogue
        self.backend = Backend(catalogue, self.payloads, self.clock)
        self.successResultOf(self.backend.open())
        self.put("a")
        self.successResultOf(self.backend.delete(name("a")))
        self.pass_time(9_000)
        self.assertEqual(len(self.payloads.contents), 1)
        self.pass_time(2_000)
        self.assertEqual(self.payloads.contents, {})

    def test_more_than_are_removed_at_once(self) -> None:
        for number in range(AT_ONCE + 5):
            self.put(str(number))
            self.successResultOf(self.backend.delete(name(str(number))))
        self.pass_time(LINGER)
        self.assertEqual(self.payloads.contents, {})

    def test_an_upload_that_can_not_begin(self) -> None:
        for error in (UnavailableError("full"), UnavailableError("full")):
            self.patch(self.payloads, "create", lambda *_, error=error: fail(error))
            self.failureResultOf(self.backend.receive(name("a"), SIZE), UnavailableError)
        self.assertEqual(self.successResultOf(self.catalogue.collect(10)), [])
        self.assertEqual(self.successResultOf(self.catalogue.usage()), [])

    def test_an_upload_that_is_cancelled_while_it_begins(self) -> None:
        # As what a thread is doing, it is not to be stopped any more.
        gate: Deferred[None] = Deferred()
        create = self.payloads.create
        patch = self.patch(
            self.payloads, "create", lambda *it: gate.addCallback(lambda _: create(*it))
        )
        self.successResultOf(self.catalogue.set_quota("alice", SIZE))
        receiving = self.backend.receive(name("a"), SIZE)
        receiving.cancel()
        self.failureResultOf(receiving, CancelledError)
        gate.callback(None)
        self.assertEqual(self.payloads.contents, {})
        # Its space is free.
        patch.restore()
        self.put("b")

    def test_it_is_waited_for(self) -> None:
        waiting: Deferred[dict[str, StoreError]] = Deferred()
        self.put("a")
        self.successResultOf(self.backend.delete(name("a")))
        patch = self.patch(self.payloads, "remove", lambda _: waiting)
        self.pass_time(LINGER)
        closing = self.backend.close()
        self.assertNoResult(closing)
        waiting.callback({})
        self.successResultOf(closing)
        patch.restore()

    def test_a_round_that_takes_long(self) -> None:
        rounds: list[Deferred[dict[str, StoreError]]] = []

        def remove(_: Sequence[str]) -> Deferred[dict[str, StoreError]]:
            rounds.append(Deferred())
            return rounds[-1]

        self.put("a")
        self.successResultOf(self.backend.delete(name("a")))
        patch = self.patch(self.payloads, "remove", remove)
        self.pass_time(10 * EVERY)
        self.assertEqual(len(rounds), 1)
        rounds[0].callback({})
        patch.restore()
        self.pass_time(EVERY)
        self.assertEqual(self.successResultOf(self.catalogue.collect(10)), [])

    def test_uploads_outlive_a_round_that_takes_long(self) -> None:
        for number in range(3 * AT_ONCE):
            self.put(str(number))
            self.successResultOf(self.backend.delete(name(str(number))))
        upload = self.receive("a")
        remove = self.payloads.remove

        def take_long(keys: Sequence[str]) -> Deferred[dict[str, StoreError]]:
            self.clock.rightNow += LEASE * len(keys) / AT_ONCE
            return remove(keys)

        self.patch(self.payloads, "remove", take_long)
        self.pass_time(LINGER)
        self.successResultOf(upload.publish())

    def test_much_that_is_to_be_removed_is_not_waited_for(self) -> None:
        for number in range(3 * AT_ONCE):
            self.put(str(number))
            self.successResultOf(self.backend.delete(name(str(number))))
        gate: Deferred[dict[str, StoreError]] = Deferred()
        patch = self.patch(self.payloads, "remove", lambda _: gate)
        self.pass_time(LINGER)
        closing = self.backend.close()
        patch.restore()
        gate.callback({})
        self.successResultOf(closing)
        self.assertGreaterEqual(len(self.payloads.contents), 2 * AT_ONCE)
        # The next process goes on with it.
        self.successResultOf(self.backend.open())
