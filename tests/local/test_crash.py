"""Processes that are killed, and processes that share a store."""

from __future__ import annotations

import random
import signal
import subprocess
from typing import Any

from blobman.errors import BlobAlreadyExistsError
from blobman.local import BlobStore
from blobman.model import SyncStatus

from .child import run, start
from .contract import MIB, content
from .test_faults import DiskTestCase, put, read

ROUNDS = 6


class CrashTests(DiskTestCase):
    def kill_after(self, lines: str, said: int) -> list[str]:
        """Kill a child when it has said so many words, and give all that it said."""
        process = start(self.folder, lines)
        assert process.stdout is not None
        words = [process.stdout.readline().strip() for _ in range(said)]
        process.send_signal(signal.SIGKILL)
        rest, errors = process.communicate(timeout=900)
        self.assertEqual(process.returncode, -signal.SIGKILL, errors)
        return [*words, *rest.split()]

    async def check(self, acknowledged: list[str]) -> BlobStore:
        """Every blob that was acknowledged is there, and all that is there is whole."""
        store = self.open()
        there = await store.list()
        self.assertLessEqual(set(acknowledged), set(there))
        for blob_id in there:
            size = int(blob_id.split("-")[1])
            self.assertTrue(await read(store, blob_id) == content(size), blob_id)
        return store

    async def test_killed_while_it_puts(self) -> None:
        chance = random.Random(5)
        for turn in range(ROUNDS):
            lines = f"""
                async def loop(worker):
                    for number in range(1000):
                        size = (200, 50_000, {MIB}, {3 * MIB})[(number + worker) % 4]
                        blob_id = f'r{turn}w{{worker}}n{{number}}-{{size}}'
                        await put(blob_id, size)
                        say(blob_id)

                await defer.gatherResults(
                    [defer.Deferred.fromCoroutine(loop(worker)) for worker in range(6)]
                )
            """
            said = self.kill_after(lines, chance.randrange(1, 40))
            store = await self.check(said)
            # What was half written has gone.
            large = [i for i in await store.list() if int(i.split("-")[1]) > MIB]
            self.assertEqual(len(self.payload_files()), len(large))
            await store.close()

    async def test_two_that_are_killed_at_once(self) -> None:
        """Each notes how far their common log reached; what is there is not taken for a loss."""
        lines = """
            for number in range(1000):
                blob_id = f'{}n{{number}}-{{(200, 50_000, 900_000)[number % 3]}}'
                await put(blob_id, int(blob_id.partition('-')[2]))
                say(blob_id)
        """
        said: list[str] = []
        for turn in range(3):
            names = [f"r{turn}p{who}" for who in range(2)]
            both = [start(self.folder, lines.format(name)) for name in names]
            for process, count in zip(both, (25, 10 * turn), strict=True):
                assert process.stdout is not None
                said += [process.stdout.readline().strip() for _ in range(count)]
            for process in both:
                process.kill()
            for process in both:
                process.communicate(timeout=60)
            await (await self.check(said)).close()

    async def test_killed_before_the_record(self) -> None:
        """The file of a large blob is complete, its record is not there."""
        lines = """
            store._database.write = lambda *_, **__: os.kill(os.getpid(), 9)
            await put('a', 3_000_000)
        """
        run(self.folder, lines)
        self.assertEqual(len(self.payload_files()), 1)
        store = await self.check([])
        self.assertIsNone(await store.get_sync_status("a"))
        self.assertEqual(self.payload_files(), [])

    async def test_killed_while_it_stages(self) -> None:
        lines = """
            staged = store.stage('a')
            await staged.write(content(20_000_000))
            os.kill(os.getpid(), 9)
        """
        run(self.folder, lines)
        self.assertEqual(len(self.payload_files()), 1)
        store = await self.check([])
        self.assertEqual(await store.list_namespaces(), [])
        self.assertEqual(self.payload_files(), [])

    async def test_killed_between_the_record_and_the_file(self) -> None:
        """A deletion is done when its record has gone; the file follows."""
        lines = """
            await put('a-3000000', 3_000_000, status=SyncStatus.LOCAL_ONLY)
            store._database.remove_files = lambda names: os.kill(os.getpid(), 9)
            await store.delete('a-3000000')
        """
        run(self.folder, lines)
        self.assertEqual(len(self.payload_files()), 1)
        store = await self.check([])
        self.assertIsNone(await store.get("a-3000000"))
        self.assertEqual(self.payload_files(), [])

    async def test_killed_while_the_schema_is_made(self) -> None:
        lines = """
            from blobman.local import schema
            schema.pragma = lambda c, s: os.kill(os.getpid(), 9) if '=' in s else 0
            await store.list()
        """
        run(self.folder, lines)
        store = await self.check([])
        await put(store, "a-5", content(5))


class TwoProcessesTests(DiskTestCase):
    def start(self, lines: str) -> subprocess.Popen[str]:
        process = start(self.folder, lines)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    async def test_both_write(self) -> None:
        lines = """
            name = {!r}
            for number in range(100):
                await put(f'{{name}}{{number}}', 30_000)
            await defer.gatherResults([put(f'{{name}}x{{n}}', 100) for n in range(200)])
            await put(f'{{name}}large', 5_000_000)
        """
        children = [self.start(lines.format(name)) for name in ("p", "q")]
        store = self.open()
        for number in range(100):
            await put(store, f"own{number}", content(20_000))
        for child in children:
            _, errors = child.communicate(timeout=900)
            self.assertEqual(child.returncode, 0, errors)
        there = await store.list()
        self.assertEqual(len(there), 100 + 2 * 301)
        for blob_id in there:
            sizes = {"own": 20_000, "px": 100, "qx": 100, "plarge": 5_000_000, "qlarge": 5_000_000}
            size = sizes.get(blob_id.rstrip("0123456789"), 30_000)
            self.assertTrue(await read(store, blob_id) == content(size), blob_id)

    async def test_what_another_one_stages_is_left_alone(self) -> None:
        child = self.start(
            """
            await store.update_sync_status('theirs', SyncStatus.PENDING_DOWNLOAD)
            staged = store.stage('theirs')
            await staged.write(content(6_000_000))
            say('staged')
            sys.stdin.readline()
            await staged.publish(b'')
            say('published')
            """
        )
        assert child.stdout is not None and child.stdin is not None
        self.assertEqual(child.stdout.readline(), "staged\n")
        store = self.open()
        self.assertEqual(await store.list(), [])
        await store.update_sync_status("mine", SyncStatus.PENDING_DOWNLOAD)
        mine = store.stage("mine")
        mine.write(content(4 * MIB))
        another = self.open()
        self.assertEqual(await another.list(), [])
        await mine.publish(b"")
        child.stdin.write("\n")
        child.stdin.flush()
        self.assertEqual(child.stdout.readline(), "published\n")
        self.assertTrue(await read(another, "theirs") == content(6_000_000))
        self.assertTrue(await read(another, "mine") == content(4 * MIB))

    async def test_one_id_in_both(self) -> None:
        one, other = self.open(), self.open()
        await put(one, "a", b"one")
        error: Any = await self.assertFailure(put(other, "a", b"other"), BlobAlreadyExistsError)
        self.assertIn("'a'", str(error))
        await one.update_sync_status("a", SyncStatus.SYNCED)
        self.assertEqual(await other.get_sync_status("a"), (SyncStatus.SYNCED, 0))
        self.assertTrue(await other.delete("a"))
        self.assertIsNone(await one.get("a"))
