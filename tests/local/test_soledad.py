"""Soledad's databases: what is read from them, whole and after a crash of Soledad."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

from blobman.errors import WrongKeyError
from blobman.local import BlobStore
from blobman.local.importing import import_soledad
from blobman.local.journal import journal_of
from blobman.local.mapping import Remark
from blobman.local.soledad import is_soledads
from blobman.model import Priority, SyncStatus

from .child import run
from .contract import MIB, content
from .old import connect_old, make_old
from .test_faults import KEY, DiskTestCase, read

VECTORS = Path(__file__).parent.parent / "vectors"
S = SyncStatus


class OldTestCase(DiskTestCase):
    """A folder in which Soledad was."""

    @property
    def kept(self) -> Path:
        return self.folder / "user_blobs.db.soledad"

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def copy(self, *names: str) -> None:
        """Make files out of those of a vector, named for our user."""
        self.folder.mkdir(exist_ok=True)
        for name in names:
            suffix = name.partition("_blobs.db")[2]
            shutil.copy(VECTORS / name, f"{self.path}{suffix}")

    async def preamble_of(self, store: BlobStore, blob_id: str) -> bytes:
        payload = await store.open_payload(blob_id)
        assert payload is not None
        return payload.preamble


class SampleTests(OldTestCase):
    """The database that Soledad 0.10.8 wrote."""

    def setUp(self) -> None:
        super().setUp()
        self.copy("soledad-local-db/alice_blobs.db")
        self.sample = json.loads((VECTORS / "soledad-local-db/alice_blobs.json").read_text())

    async def test_everything_comes_along(self) -> None:
        before = self.path.read_bytes()
        store = self.open(self.sample["key"])
        for row in self.sample["rows"]:
            blob_id, namespace = row["blob_id"], row["namespace"]
            status = await store.get_sync_status(blob_id, namespace)
            self.assertEqual(status, (SyncStatus[row["status"]], 0), row)
            priority = await store.get_priority(blob_id, namespace)
            # Soledad noted MEDIUM for what stays local, whatever it was told.
            is_local = row["status"] == "LOCAL_ONLY"
            expected = "medium" if is_local else row["priority"]
            self.assertEqual(priority, Priority.parse(expected), row)
            file = await store.get(blob_id, namespace)
            self.assertEqual(file is None, row["size"] is None, row)
            if file is not None:
                data = file.read()
                self.assertEqual(
                    (len(data), sha256(data).hexdigest()), (row["size"], row["sha256"])
                )
        self.assertEqual(sorted(await store.list_namespaces()), ["", "mail"])
        self.assertEqual(self.kept.stat().st_size, len(before))

    async def test_it_stays_usable(self) -> None:
        key = self.sample["key"]
        await self.open(key).list()
        self.assertTrue(is_soledads(self.kept, key.encode()))
        self.assertFalse(is_soledads(self.path, key.encode()))
        old = connect_old(self.kept, key.encode())
        self.assertEqual(old.execute("SELECT count(*) FROM blobs").fetchall(), [(5,)])
        old.close()

    async def test_how_it_was_sealed_is_not_known(self) -> None:
        store = self.open(self.sample["key"])
        for blob_id in ("waiting", "synced-default", "local-only"):
            self.assertEqual(await self.preamble_of(store, blob_id), b"")

    async def test_wrong_key(self) -> None:
        before = self.path.read_bytes()
        for key in (b"another key", self.sample["key"][:-1]):
            store = self.open(key)
            await self.assertFailure(store.list(), WrongKeyError)
            await store.close()
            await self.assertFailure(import_soledad(self.folder, "user", key), WrongKeyError)
        self.assertEqual(self.names(), ["user_blobs.db"])
        self.assertEqual(self.path.read_bytes(), before)

    async def test_a_new_one_is_not_mistaken(self) -> None:
        await self.open(self.sample["key"]).list()
        store = self.open(b"another key")
        before = self.path.read_bytes()
        await self.assertFailure(store.list(), WrongKeyError)
        await store.close()
        self.assertEqual(self.path.read_bytes(), before)


class RowTests(OldTestCase):
    async def report(self, **more: Any) -> Any:
        return await import_soledad(self.folder, "user", KEY, **more)

    async def test_sizes(self) -> None:
        sizes = (0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB, 9 * MIB + 5)
        blobs = [(f"b{n}", content(n), "") for n in sizes]
        make_old(self.path, KEY, blobs, [(f"b{n}", "", 2, 2, 0) for n in sizes])
        store = self.open()
        self.assertEqual(await store.list(), [f"b{n}" for n in sizes])
        for size in sizes:
            self.assertTrue(await read(store, f"b{size}") == content(size), size)
        self.assertEqual(len(self.payload_files()), 3)

    async def test_what_does_not_fit(self) -> None:
        make_old(
            self.path,
            KEY,
            [
                ("no-status", b"1", ""),
                ("local-of-old", b"2", None, 7),
                ("half", b"3", ""),
                ("empty-payload", None, ""),
                ("text", "text", ""),
                ("moved", b"4", ""),
                ("a/b", b"5", ""),
                (None, b"6", ""),
            ],
            [
                ("half", "", 3, None, 2),
                ("empty-payload", "", 1, 4, 7),
                ("text", None, 4, 4, 2),
                ("moved", "mail", 3, 2, None),
                ("gone", "", 2, 2, 0),
                ("a/b", "", 1, 2, 0),
                (None, "", 3, 2, 0),
            ],
        )
        expected = await self.report(dry_run=True)
        self.assertEqual(await self.report(), expected)
        store = self.open()
        for blob_id, namespace, status in (
            ("no-status", "", (S.PENDING_UPLOAD, 0)),
            ("local-of-old", "", (S.LOCAL_ONLY, 0)),
            ("half", "", (S.PENDING_DOWNLOAD, 2)),
            ("empty-payload", "", (S.PENDING_DOWNLOAD, 0)),
            ("text", "", (S.FAILED_UPLOAD, 2)),
            ("moved", "", (S.PENDING_UPLOAD, 0)),
            ("moved", "mail", (S.PENDING_DOWNLOAD, 0)),
            ("gone", "", None),
        ):
            self.assertEqual(await store.get_sync_status(blob_id, namespace), status, blob_id)
        self.assertEqual(await read(store, "text"), b"text")
        self.assertEqual(await store.list_namespaces(), ["", "mail"])
        self.assertEqual((expected.blobs, expected.payloads, expected.size), (7, 4, 7))
        self.assertEqual(expected.remarks[Remark.BAD_NAME.value], 3)
        self.assertEqual(expected.remarks[Remark.NO_STATUS.value], 3)

    async def test_the_default_namespace_by_either_name(self) -> None:
        names = [(a, b) for a in ("", None, "default") for b in ("", None, "default")]
        blobs = [(f"b{n}", b"1", one) for n, (one, _) in enumerate(names)]
        states = [(f"b{n}", other, 7, 4, 0) for n, (_, other) in enumerate(names)]
        make_old(self.path, KEY, blobs, [*states, ("wanted", "default", 3, 2, 0)])
        store = self.open()
        self.assertEqual(await store.list_namespaces(), [""])
        self.assertEqual(len(await store.list_status(S.LOCAL_ONLY)), len(names))
        self.assertEqual(await store.list_status(S.PENDING_DOWNLOAD), ["wanted"])

    async def test_order(self) -> None:
        blobs = [(f"b{n}", b"", "") for n in range(4)]
        make_old(
            self.path, KEY, blobs, [(f"b{n}", "", 2, p, 0) for n, p in enumerate((1, 4, 4, 2))]
        )
        store = self.open()
        waiting = await store.list_status(SyncStatus.PENDING_UPLOAD)
        self.assertEqual(waiting, ["b1", "b2", "b3", "b0"])

    async def test_nothing_in_it(self) -> None:
        connection = connect_old(self.path, KEY)
        connection.execute("CREATE TABLE something_else (x)")
        connection.close()
        self.assertEqual((await self.report()).blobs, 0)
        self.assertEqual(await self.open().list(), [])

    async def test_an_older_one_with_fewer_columns(self) -> None:
        connection = connect_old(self.path, KEY)
        connection.execute("CREATE TABLE blobs (blob_id PRIMARY KEY, payload BLOB)")
        connection.execute("INSERT INTO blobs VALUES ('a', x'31')")
        connection.close()
        store = self.open()
        self.assertEqual(await store.get_sync_status("a"), (SyncStatus.PENDING_UPLOAD, 0))
        self.assertEqual(await read(store, "a"), b"1")

    async def test_damaged(self) -> None:
        make_old(self.path, KEY, [("a", content(200_000), "")], [("a", "", 1, 2, 0)])
        whole = self.path.read_bytes()
        self.path.write_bytes(whole[:100_000] + b"scratch" + whole[100_007:])
        before = self.path.read_bytes()
        for _ in range(2):
            await self.refuses(self.open().list(), "damaged")
            self.assertEqual(self.path.read_bytes(), before)
        self.assertEqual(self.names(), ["user_blobs.db", "user_blobs.lock"])


class CrashedSoledadTests(OldTestCase):
    """What SQLCipher leaves when it is killed in a transaction."""

    KEY = b"a key of its own"

    async def check(self, count: int) -> None:
        store = self.open(self.KEY)
        self.assertEqual(await store.list(), [f"b{n}" for n in range(1, count + 1)])
        self.assertEqual(await store.get_sync_progress(), {"PENDING_UPLOAD": count})
        for number in range(1, count + 1):
            self.assertEqual(await read(store, f"b{number}"), bytes([number]) * 1500)
        await store.close()
        left = ["user_blobs.db", "user_blobs.db.soledad", "user_blobs.lock"]
        self.assertEqual(self.names(), left)

    async def test_journal_of_sqlcipher(self) -> None:
        self.copy(
            "sqlcipher-crashes/journal_blobs.db", "sqlcipher-crashes/journal_blobs.db-journal"
        )
        await self.check(10)

    async def test_log_of_sqlcipher(self) -> None:
        self.copy("sqlcipher-crashes/log_blobs.db", "sqlcipher-crashes/log_blobs.db-wal")
        await self.check(14)

    async def test_dry_run_leaves_the_log(self) -> None:
        self.copy("sqlcipher-crashes/log_blobs.db", "sqlcipher-crashes/log_blobs.db-wal")
        files = (self.path, Path(f"{self.path}-wal"))
        before = [path.read_bytes() for path in files]
        report = await import_soledad(self.folder, "user", self.KEY, dry_run=True)
        assert report is not None
        self.assertEqual(report.statuses, {"PENDING_UPLOAD": 14})
        self.assertEqual([path.read_bytes() for path in files], before)
        await self.check(14)

    async def test_wrong_key(self) -> None:
        for kind, suffix in (("journal", "-journal"), ("log", "-wal")):
            name = f"sqlcipher-crashes/{kind}_blobs.db"
            self.copy(name, name + suffix)
            files = (self.path, Path(f"{self.path}{suffix}"))
            before = [path.read_bytes() for path in files]
            store = self.open(b"another key")
            await self.assertFailure(store.list(), WrongKeyError)
            await store.close()
            self.assertEqual([path.read_bytes() for path in files], before)
            files[1].unlink()

    async def test_journal_of_other_programs(self) -> None:
        """SQLite with multiple ciphers has other checksums, and plays it back itself."""
        make_old(self.path, self.KEY, [(f"b{n}", bytes([n]) * 1500, "") for n in range(1, 9)])
        lines = f"""
            from pathlib import Path
            from tests.local.old import connect_old
            connection = connect_old(Path({str(self.path)!r}), {self.KEY!r})
            connection.execute("PRAGMA cache_size=5; BEGIN; UPDATE blobs SET payload = x'00'")
            os.kill(os.getpid(), 9)
        """
        run(self.folder, lines)
        self.assertTrue(journal_of(self.path).stat().st_size)
        await self.check(8)

    async def test_in_use(self) -> None:
        make_old(self.path, self.KEY, [("a", b"1", "")])
        other = connect_old(self.path, self.KEY)
        other.execute("PRAGMA journal_mode=WAL").fetchall()
        other.execute("INSERT INTO blobs (blob_id, payload) VALUES ('b', x'32')")
        await self.refuses(self.open(self.KEY, patience=0.05).list(), "locked")
        self.assertNotIn(self.kept.name, self.names())
        other.close()
        store = self.open(self.KEY)
        self.assertEqual(await store.list(), ["a", "b"])
