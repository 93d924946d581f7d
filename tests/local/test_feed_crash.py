"""Processes that are killed while they apply changes, or bring a store up to date for that."""

from __future__ import annotations

import random
import signal

from blobman.model import FIRST_CURSOR, ChangesPage, SyncStatus

from .child import start_dying
from .contract import MIB, content
from .feed_contract import gone, there
from .test_faults import DiskTestCase, put, read
from .versions import bring_back

S = SyncStatus
ROUNDS = 5
PAGES = 30

APPLYING = f"""
from blobman.model import ChangesPage
from tests.local.feed_contract import gone, there

for number in range({PAGES}):
    changes = [there(f'p{{number}}n{{n}}') for n in range(50)]
    changes += [gone(f'p{{number - 2}}n{{n}}') for n in range(25)]
    page = ChangesPage(changes, f'c{{number}}', True)
    since = (await store.get_feed()).cursor
    await store.apply_changes(page, since)
"""

ENDING = """
await store.end_comparison('its end', {f'b{n:04}' for n in range(0, 5000, 3)}, 1.0)
"""


class KilledTests(DiskTestCase):
    def die(self, lines: str, calls: int) -> bool:
        """Run a process that is to be killed, and give whether it was."""
        process = start_dying(self.folder, lines, calls)
        _, errors = process.communicate(timeout=900)
        self.assertIn(process.returncode, (0, -signal.SIGKILL), errors)
        return process.returncode != 0

    async def test_killed_while_it_applies_pages(self) -> None:
        """The store is where its cursor says."""
        chance = random.Random(3)
        killed = 0
        for _ in range(ROUNDS):
            self.setUp()
            killed += self.die(APPLYING, chance.randrange(400, 4000))
            store = self.open()
            cursor = (await store.get_feed()).cursor
            done = -1 if cursor == FIRST_CURSOR else int(cursor[1:])
            waiting = set(await store.list_status(S.PENDING_DOWNLOAD))
            self.assertEqual(waiting, _expected(done))
            await store.close()
        self.assertGreater(killed, ROUNDS // 2)

    async def test_killed_at_the_end_of_a_comparison(self) -> None:
        """Whatever has been settled, the next end settles the rest."""
        chance = random.Random(4)
        killed = 0
        for _ in range(3):
            self.setUp()
            store = self.open()
            await store.apply_changes(
                ChangesPage([there(f"b{n:04}") for n in range(5000)], "c", False), FIRST_CURSOR
            )
            await put(store, "kept", content(2 * MIB))
            await put(store, "lost", b"data")
            await store.mark_uploaded({"kept": None, "lost": None}, "")
            await store.begin_comparison()
            seen = [there(f"b{n:04}") for n in range(0, 5000, 5)]
            await store.apply_changes(
                ChangesPage([*seen, there("kept")], "its end", False), "start"
            )
            await store.close()
            killed += self.die(ENDING, chance.randrange(100, 1500))
            store = self.open()
            feed = await store.get_feed()
            if feed.is_comparing:
                await store.end_comparison("its end", {"b0000", "b0003"}, 1.0)
            self.assertEqual((await store.get_feed()).compared, 1.0)
            waiting = [f"b{n:04}" for n in range(0, 5000, 5)]
            self.assertEqual(sorted(await store.list_status(S.PENDING_DOWNLOAD)), waiting)
            self.assertEqual(await store.list_status(S.PENDING_UPLOAD), ["lost"])
            self.assertTrue(await read(store, "kept") == content(2 * MIB))
            await store.close()
        self.assertGreater(killed, 0)

    async def test_killed_while_it_is_brought_up_to_date(self) -> None:
        store = self.open()
        await put(store, "small", b"data")
        await put(store, "large", content(2 * MIB))
        await store.update_sync_status("large", S.SYNCED)
        await store.close()
        bring_back(self.path, 4)
        chance = random.Random(5)
        for _ in range(ROUNDS):
            self.die("await store.list()", chance.randrange(1, 200))
        store = self.open()
        self.assertEqual(await read(store, "small"), b"data")
        self.assertTrue(await read(store, "large") == content(2 * MIB))
        self.assertEqual(await store.get_sync_status("large"), (S.SYNCED, 0))
        await store.apply_changes(ChangesPage([gone("large")], "c", False), FIRST_CURSOR)
        self.assertEqual(await store.list(), ["small"])
        self.assertEqual(self.payload_files(), [])


def _expected(done: int) -> set[str]:
    """What waits after so many pages."""
    pages = range(done + 1)
    return {f"p{page}n{n}" for page in pages for n in range(50) if n >= 25 or page > done - 2}
