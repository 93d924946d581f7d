"""Take-overs that are killed, stopped, or tried by two at once."""

from __future__ import annotations

import io
import os
import random
import signal
import subprocess
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import CancelledError, Deferred, gatherResults

from blobman.errors import ClosedError
from blobman.local import BlobStore
from blobman.local.importing import import_soledad
from blobman.local.lock import StoreLock
from blobman.local.payload_writer import PayloadWriter
from blobman.local.soledad import is_soledads

from .child import start, start_dying
from .contract import MIB
from .old import connect_old, make_large
from .test_faults import KEY
from .test_soledad import OldTestCase

ROUNDS = int(os.environ.get("BLOBMAN_TEST_KILLS", "6"))
COUNT, SIZE = 5, 2 * MIB + 7

CALLS = 10_000
"""About as many functions are called for a take-over."""

STEPS = (
    "takeover.OldDatabase.seize",
    "rebuilding.schema.upgrade",
    "rebuilding.records.restore",
    "payload_writer.PayloadWriter.append",
    "payload_writer.PayloadWriter.finish",
    "takeover.Rebuilding.verify",
    "takeover.TakeOver._keep",
    "takeover.TakeOver._swap",
    "takeover.os.replace",
)
"""What is done, in this order."""

LEFT = [
    "user_blobs.db",
    "user_blobs.db.soledad",
    "user_blobs.lock",
    "user_blobs.payloads",
]


class TakeOverTestCase(OldTestCase):
    def setUp(self) -> None:
        super().setUp()
        make_large(self.path, KEY, COUNT, SIZE)

    async def check(self) -> None:
        """All of it is in the new database, and nothing else is in the folder."""
        store = self.open()
        self.assertEqual(await store.list(), [f"b{n}" for n in range(COUNT)])
        for number in range(COUNT):
            file = await store.get(f"b{number}")
            assert file is not None
            self.assertTrue(file.read() == bytes([number]) * SIZE)
        await store.close()
        self.assertEqual(self.names(), LEFT)
        self.assertEqual(len(self.payload_files()), COUNT)
        self.check_old(self.kept)

    def check_old(self, path: Any) -> None:
        """The old database holds what it held."""
        self.assertTrue(is_soledads(path, KEY))
        old = connect_old(path, KEY)
        whole = [(n, SIZE) for n in range(COUNT)]
        query = "SELECT rowid - 1, length(payload) FROM blobs WHERE payload > x'' ORDER BY rowid"
        self.assertEqual(old.execute(query).fetchall(), whole)
        old.close()


class KillTests(TakeOverTestCase):
    def kill_at(self, step: str, after: bool) -> None:
        """Kill a child that takes over, before or after the first call of a function."""
        owner, _, name = f"blobman.local.{step}".rpartition(".")
        lines = f"""
            import blobman.local.takeover
            from blobman.local import takeover, rebuilding, payload_writer
            owner, name = {owner.removeprefix("blobman.local.")}, {name!r}
            function = getattr(owner, name)

            def fatal(*arguments, **more):
                if {after}:
                    function(*arguments, **more)
                os.kill(os.getpid(), 9)

            setattr(owner, name, fatal)
            await store.list()
        """
        process = start(self.folder, lines)
        _, errors = process.communicate(timeout=900)
        self.assertEqual(process.returncode, -signal.SIGKILL, errors)

    async def check_killed_at(self, step: str) -> None:
        for after in (False, True):
            self.kill_at(step, after)
            if not is_soledads(self.path, KEY):
                self.assertIn((step, after), [(it, True) for it in STEPS[-2:]])
            else:
                self.check_old(self.path)
        await self.check()

    async def test_killed_at_random(self) -> None:
        chance = random.Random(3)
        for _ in range(ROUNDS):
            process = start_dying(self.folder, "await store.list()", chance.randrange(1, CALLS))
            _, errors = process.communicate(timeout=900)
            self.assertIn(process.returncode, (-signal.SIGKILL, 0), errors)
            if is_soledads(self.path, KEY):
                self.check_old(self.path)
            else:
                await self.check()
                self.path.unlink()
                self.kept.rename(self.path)
        await self.check()


def _add_kill_test(step: str) -> None:
    async def test(self: KillTests) -> None:
        await self.check_killed_at(step)

    setattr(KillTests, f"test_killed_at_{step.replace('.', '_')}", test)


for _step in STEPS:
    _add_kill_test(_step)


class FailureTests(TakeOverTestCase):
    async def fails(self, work: Deferred[Any], *words: str) -> None:
        """It fails, and nothing was changed."""
        await self.refuses(work, *words)
        self.assertEqual(self.payload_files(), [])
        names = [name for name in self.names() if not name.endswith((".lock", ".payloads"))]
        self.assertEqual(names, ["user_blobs.db"])
        self.check_old(self.path)

    async def test_each_step(self) -> None:
        for step in STEPS[:-2]:
            with patch(f"blobman.local.{step}", side_effect=OSError(5, "no luck")):
                await self.fails(self.open().list(), "no luck")
        await self.check()

    async def test_the_copy_is_another(self) -> None:
        append = PayloadWriter.append

        def spoil(writer: PayloadWriter, chunks: Any) -> None:
            append(writer, [b"x" + chunk[1:] for chunk in chunks])

        with patch.object(PayloadWriter, "append", spoil):
            await self.fails(self.open().list(), "has not become")
        await self.check()

    async def test_something_is_in_the_way(self) -> None:
        self.kept.write_bytes(b"a file of its own")
        await self.refuses(self.open().list(), "in the way", str(self.kept))
        self.assertEqual(self.kept.read_bytes(), b"a file of its own")
        self.check_old(self.path)
        self.kept.unlink()
        await self.check()

    async def test_without_hard_links(self) -> None:
        with patch("os.link", side_effect=PermissionError):
            await self.check()

    async def test_killed_without_hard_links(self) -> None:
        """The copy that a crash has left is no obstacle."""
        self.kept.write_bytes(self.path.read_bytes())
        await self.check()

    async def test_locked_by_soledad(self) -> None:
        other = connect_old(self.path, KEY)
        other.execute("BEGIN IMMEDIATE")
        await self.fails(self.open(patience=0.05).list(), "locked")
        other.execute("ROLLBACK")
        other.close()
        await self.check()

    async def test_closed_meanwhile(self) -> None:
        store = self.open()
        listing = store.list()
        await store.close()
        await self.assertFailure(listing, ClosedError)
        self.check_old(self.path)
        await self.check()

    async def test_cancelled(self) -> None:
        work = import_soledad(self.folder, "user", KEY)
        work.cancel()
        await self.assertFailure(work, CancelledError)
        await self.check()

    async def test_in_use_by_a_store(self) -> None:
        lock = StoreLock(self.folder / "user_blobs.lock")
        lock.share(lambda: None)
        work = import_soledad(self.folder, "user", KEY, patience=0.01)
        await self.refuses(work, "in use")
        lock.release()
        await self.check()


class ManyTests(TakeOverTestCase):
    async def test_many_in_one_process(self) -> None:
        stores = [self.open() for _ in range(4)]
        found = await gatherResults([store.list() for store in stores])
        self.assertEqual(found, [[f"b{n}" for n in range(COUNT)]] * 4)
        await gatherResults([store.close() for store in stores])
        await self.check()

    async def test_many_processes(self) -> None:
        lines = """
            from blobman.local.takeover import TakeOver
            run = TakeOver._run
            TakeOver._run = lambda self: (say('takes over'), run(self))[1]
            sys.stdin.readline()
            say(len(await store.list()))
        """
        children: list[subprocess.Popen[str]] = [start(self.folder, lines) for _ in range(4)]
        for child in children:
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
        said = []
        for child in children:
            out, errors = child.communicate(timeout=900)
            self.assertEqual(child.returncode, 0, errors)
            said += out.splitlines()
        self.assertEqual(sorted(said), [str(COUNT)] * 4 + ["takes over"])
        await self.check()

    async def test_put_while_it_is_taken_over(self) -> None:
        stores: list[BlobStore] = [self.open(), self.open()]
        await gatherResults(
            [
                store.put(f"new{n}", io.BytesIO(b"x" * MIB * 2), MIB * 2)
                for n, store in enumerate(stores)
            ]
        )
        self.assertEqual(len(await stores[0].list()), COUNT + 2)
        self.assertEqual(len(self.payload_files()), COUNT + 2)
