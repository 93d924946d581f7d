from __future__ import annotations

import io
import sys

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from blobman import ITransferObserver, TransferProgress
from blobman.cli import progress, synchronizing
from blobman.cli.progress import BAR_INTERVAL, LINE_INTERVAL, Bar, Events, Lines, showing_progress
from blobman.cli.screen import Screen
from blobman.cli.tally import SEALED_OVERHEAD, WINDOW, Tally

from .harness import ServerCase


def standing(
    done: int = 0, total: int = 0, state: str = "running", blob_id: str = "a"
) -> TransferProgress:
    return TransferProgress(blob_id, "", "upload", done, total, state)


class Terminal(io.StringIO):
    """What is written to a terminal; shows its last line as the eye does."""

    def isatty(self) -> bool:
        return True

    @property
    def line(self) -> str:
        return self.getvalue().split("\r")[-1].replace("\x1b[K", "")


class TallyTests(SynchronousTestCase):
    def test_bytes_rate_and_time_left(self) -> None:
        tally = Tally()
        tally.note(standing(0, 50_000_000), 0.0)
        tally.note(standing(10_000_000, 50_000_000), 4.0)
        self.assertEqual(tally.words(4.0), "10.0 MB of 50.0 MB, 2.5 MB/s, 0:16 left, 1 under way")

    def test_nothing_has_moved(self) -> None:
        tally = Tally()
        tally.note(standing(), 0.0)
        self.assertEqual(tally.words(1.0), "waiting for the server")
        tally.note(standing(0, 100), 2.0)
        self.assertEqual(tally.words(2.0), "0 B of 100 B, 0 B/s, 1 under way")

    def test_several(self) -> None:
        tally = Tally()
        for number in range(3):
            tally.note(standing(0, 1000, blob_id=str(number)), 0.0)
        tally.note(standing(1000, 1000, "done", "0"), 1.0)
        self.assertEqual(tally.words(1.0), "1.0 kB of 3.0 kB, 1.0 kB/s, 0:02 left, 2 under way")

    def test_another_attempt_is_not_counted_backwards(self) -> None:
        tally = Tally()
        tally.note(standing(0, 1000), 0.0)
        tally.note(standing(600, 1000), 1.0)
        tally.note(standing(600, 1000, "failed"), 1.0)
        self.assertFalse(tally.is_running)
        tally.note(standing(0, 1000), 2.0)
        self.assertEqual(tally.rate(2.0), 300.0)
        self.assertIn("0 B of 1.0 kB", tally.words(2.0))

    def test_the_rate_is_that_of_the_last_seconds(self) -> None:
        tally = Tally()
        tally.note(standing(0, 10_000), 0.0)
        tally.note(standing(9_000, 10_000), 1.0)
        for second in range(2, 13):
            tally.note(standing(9_000 + second, 10_000), float(second))
        self.assertLess(tally.rate(12.0), 2.0)
        tally.note(standing(9_500, 10_000), 100.0)
        self.assertGreater(tally.rate(100.0), 0.0)

    def test_the_sums_begin_anew_after_a_pause(self) -> None:
        tally = Tally()
        tally.note(standing(0, 1000), 0.0)
        tally.note(standing(1000, 1000, "done"), 1.0)
        tally.note(standing(5, 10, blob_id="b"), 1.0 + WINDOW)
        self.assertTrue(tally.words(12.0).startswith("5 B of 10 B"))

    def test_the_bar_fits(self) -> None:
        tally = Tally()
        tally.note(standing(0, 123_456_789_012), 0.0)
        tally.note(standing(100_000_000_000, 123_456_789_012), 1000.0)
        for columns in (200, 80, 79, 60, 40, 20, 1):
            self.assertLessEqual(len(tally.bar(1000.0, columns)), columns)
        self.assertTrue(tally.bar(1000.0, 79).startswith("[#"))
        self.assertIn(" 81% ", tally.bar(1000.0, 79))

    def test_more_than_was_said(self) -> None:
        tally = Tally()
        tally.note(standing(20, 10), 0.0)
        self.assertIn("100%", tally.bar(1.0, 80))

    def test_what_has_not_begun(self) -> None:
        tally = Tally()
        tally.expect([0, 2_000_000 - 3 * SEALED_OVERHEAD, 0])
        tally.note(standing(0, 800_000), 0.0)
        tally.note(standing(200_000, 800_000), 1.0)
        self.assertEqual(tally.words(1.0), "200.0 kB of 2.0 MB, 200.0 kB/s, 0:09 left, 1 under way")
        self.assertIn(" 10% ", tally.bar(1.0, 80))
        tally.note(standing(200_000, 800_000, "failed"), 1.0)
        tally.note(standing(0, 1000, blob_id="b"), 1.0 + WINDOW)
        self.assertIn("0 B of 1.2 MB", tally.words(1.0 + WINDOW))

    def test_what_is_not_known(self) -> None:
        tally = Tally()
        tally.expect_more(0)
        tally.note(standing(0, 1000), 0.0)
        self.assertEqual(tally.words(1.0), "0 B, 0 B/s, 1 under way")
        tally.note(standing(1000, 1000, "done"), 1.0)
        tally.expect_more(40)
        for blob_id in ("b", "c"):
            tally.note(standing(500, 1000, blob_id=blob_id), 2.0)
        words = "1 of 41 blobs, 2.0 kB, 1.0 kB/s, 2 under way"
        self.assertEqual((tally.words(2.0), tally.bar(2.0, 80)), (words, words))
        tally.expect_more(2)
        words = "2.0 kB of 3.0 kB, 1.0 kB/s, 0:01 left, 2 under way"
        self.assertEqual(tally.words(2.0), words)


class DisplayTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.err, self.out = io.StringIO(), io.StringIO()
        self.patch(sys, "stderr", self.err)
        self.patch(sys, "stdout", self.out)

    def on_a_terminal(self) -> Terminal:
        terminal = Terminal()
        self.patch(sys, "stderr", terminal)
        return terminal

    def tearDown(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_bar_is_drawn_and_goes_away(self) -> None:
        terminal = self.on_a_terminal()
        with showing_progress(self.clock, Screen()) as observer:
            assert observer is not None
            self.assertIsInstance(observer, Bar)
            verifyObject(ITransferObserver, observer)
            observer.transfer_changed(standing(10, 100))
            self.clock.advance(BAR_INTERVAL)
            self.assertIn("10 B of 100 B", terminal.line)
            observer.transfer_changed(standing(100, 100, "done"))
            self.clock.advance(BAR_INTERVAL)
            self.assertEqual(terminal.line, "")
            observer.transfer_changed(standing(10, 100, blob_id="b"))
            self.clock.advance(BAR_INTERVAL)
        self.assertEqual(terminal.line, "")

    def test_results_do_not_mix_with_the_bar(self) -> None:
        terminal = self.on_a_terminal()
        screen = Screen()
        with showing_progress(self.clock, screen) as observer:
            assert observer is not None
            observer.transfer_changed(standing(10, 100))
            self.clock.advance(BAR_INTERVAL)
            screen.remark("a remark")
            self.assertEqual(terminal.line, "a remark\n")
            self.clock.advance(BAR_INTERVAL)
            self.assertIn("10 B of 100 B", terminal.line)
            screen.result("a result")
            self.assertEqual(terminal.line, "")
        self.assertEqual(self.out.getvalue(), "a result\n")

    def test_a_terminal_that_is_gone_stops_nothing(self) -> None:
        terminal = self.on_a_terminal()
        with showing_progress(self.clock, Screen()) as observer:
            assert observer is not None
            observer.transfer_changed(standing(10, 100))
            terminal.write = _fail  # type: ignore[method-assign]
            self.clock.advance(BAR_INTERVAL)
            del terminal.write
            self.clock.advance(BAR_INTERVAL)
            self.assertIn("10 B of 100 B", terminal.line)

    def test_a_line_now_and_then(self) -> None:
        with showing_progress(self.clock, Screen()) as observer:
            assert observer is not None
            self.assertIsInstance(observer, Lines)
            verifyObject(ITransferObserver, observer)
            observer.transfer_changed(standing(0, 100))
            observer.transfer_changed(standing(50, 100))
            self.assertEqual(self.err.getvalue(), "")
            self.clock.advance(LINE_INTERVAL)
            self.assertEqual(self.err.getvalue(), "50 B of 100 B, 5 B/s, 0:10 left, 1 under way\n")
            observer.transfer_changed(standing(100, 100, "done"))
            self.clock.advance(LINE_INTERVAL)
        self.assertEqual(len(self.err.getvalue().splitlines()), 1)

    def test_a_line_for_each_blob(self) -> None:
        with showing_progress(self.clock, Screen(), by_blob=True) as observer:
            assert observer is not None
            for state, total in (("running", 100), ("failed", 100), ("done", 100), ("done", 0)):
                observer.transfer_changed(standing(total, total, state))
        self.assertEqual(self.err.getvalue(), "sent a, 100 B\n")

    def test_events(self) -> None:
        with showing_progress(self.clock, Screen(as_json=True)) as observer:
            assert observer is not None
            self.assertIsInstance(observer, Events)
            verifyObject(ITransferObserver, observer)
            observer.transfer_changed(standing(1, 2))
        self.assertEqual(
            self.out.getvalue(),
            '{"event": "transfer", "id": "a", "namespace": "", "direction": "upload",'
            ' "done": 1, "total": 2, "state": "running"}\n',
        )

    def test_nobody_cares(self) -> None:
        self.on_a_terminal()
        with showing_progress(self.clock, Screen(quiet=True)) as observer:
            self.assertIsNone(observer)


def _fail(text: str) -> int:
    raise OSError("gone")


class CommandTests(ServerCase):
    async def test_events_of_a_put_and_a_get(self) -> None:
        path = self.write("a", b"a" * 1_000_000)
        events = (await self.succeed("put", path, "--id", "a", "--json")).events
        self.assertEqual(events[0]["state"], "running")
        self.assertEqual((events[-1]["state"], events[-1]["direction"]), ("done", "upload"))
        self.assertEqual(events[-1]["done"], events[-1]["total"])
        self.another_machine()
        outcome = await self.succeed("get", "a", "-o", self.path("out"), "--json")
        self.assertEqual(outcome.events[-1]["direction"], "download")
        self.assertEqual(
            outcome.records, [{"id": "a", "file": self.path("out"), "external": False}]
        )

    async def test_content_is_not_mixed_with_events(self) -> None:
        await self.put(b"content\n", "--id", "a")
        self.another_machine()
        self.assertEqual((await self.succeed("get", "a", "--json")).out, "content\n")

    async def test_quiet_means_no_events(self) -> None:
        path = self.write("a", b"a")
        outcome = await self.succeed("put", path, "--json", "--quiet")
        self.assertEqual((len(outcome.events), len(outcome.records)), (0, 1))

    async def test_put_knows_of_all_files(self) -> None:
        words: list[str] = []
        self.patch(progress, "LINE_INTERVAL", 0.01)
        self.patch(Screen, "remark", lambda screen, text: words.append(text))
        for name in "abcdefgh":
            self.write(f"in/{name}", b"x" * (500_000 - SEALED_OVERHEAD))
        await self.succeed("put", self.path("in"), "--limit-rate", "8MB")
        self.assertTrue(words)
        self.assertEqual([it for it in words if "of 4.0 MB" not in it and "/s" in it], [])

    async def test_sync_counts_blobs(self) -> None:
        words: list[str] = []
        for name in "abcdefgh":
            self.write(f"in/{name}", b"x" * 500_000)
        await self.succeed("put", self.path("in"))
        self.another_machine()
        self.patch(progress, "LINE_INTERVAL", 0.01)
        self.patch(synchronizing, "COUNT_INTERVAL", 0.01)
        self.patch(Screen, "remark", lambda screen, text: words.append(text))
        await self.succeed("sync", "--limit-rate", "8MB")
        self.assertTrue([it for it in words if "of 8 blobs" in it], words)
        early = [it for it in words if "1 of 8 blobs" in it]
        self.assertEqual([it for it in early if "left" in it], [])

    async def test_sync_names_what_it_moved(self) -> None:
        await self.put(b"a", "--id", "a")
        self.another_machine()
        outcome = await self.run_command("sync")
        self.assertEqual(outcome.err, "fetched a, 754 B\n1 in step; 1 fetched\n")
