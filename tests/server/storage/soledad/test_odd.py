"""What is odd is left where it is and told. It stops nothing else; what can't be read stops all."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from blobman.errors import StoreError
from blobman.server.accounts.interface import Quotas
from blobman.server.storage.catalogue.connection import connect, upgrade
from blobman.server.storage.interface import BlobName
from blobman.server.storage.soledad.adoption import Adoption

from .case import AdoptionCase
from .older import OlderFolder, sealed

A = ("alice", "default", "a")


class OddTests(AdoptionCase):
    async def told_beside_a_blob(self, *paths: str) -> None:
        """These are said to be odd, and stay, and a blob is taken over all the same."""
        self.older.put(A, sealed("a"))
        backend = await self.open()
        self.assertEqual(self.told(), sorted(paths))
        self.assertEqual(self.adoption.report.odd, len(paths))
        self.assertEqual(await self.listed(backend, "alice"), ["a"])
        self.assertEqual(await self.content(backend, *A), sealed("a"))
        await backend.janitor.clean()
        for path in paths:
            self.assertTrue(os.path.lexists(os.path.join(self.root, path)), path)

    async def test_names_that_are_none(self) -> None:
        for path in ("b o b", "lost+found", "alice/de.fault", "x" * 255):
            (self.older.path / path).mkdir(parents=True)
            (self.older.path / path / "inside").touch()
        await self.told_beside_a_blob("b o b", "lost+found", "alice/de.fault", "x" * 255)

    async def test_names_that_are_no_text(self) -> None:
        os.mkdir(os.path.join(os.fsencode(self.root), b"al\xffce"))
        self.older.put(A, sealed("a"))
        await self.open()
        self.assertEqual(self.told(), ["al\\xffce"])

    async def test_files_in_wrong_places(self) -> None:
        leaf = "alice/default/a/a/a/"
        places = [
            "tokens",
            "alice/file",
            "alice/default/file",
            "alice/default/b/file",
            "alice/default/b/bcd/file",
            leaf + "b",
            leaf + "a.txt",
            leaf + "c.flags",
            leaf + "b.deleted",
            leaf + ".deleted",
            leaf + "." + "0" * 64 + ".deleted",
        ]
        for place in places:
            path = self.older.path / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(sealed("misplaced"))
        await self.told_beside_a_blob(*places)

    async def test_folders_in_wrong_places(self) -> None:
        for place in ("default/bb/b", "default/b/c", "default/b/b/c", "default/b/bcd/bcdefgh"):
            (self.older.path / "alice" / place).mkdir(parents=True)
        (self.older.leaf(*A) / "abc").mkdir()
        (self.older.leaf("alice", "default", "e") / "e").mkdir()
        await self.told_beside_a_blob(
            *(
                f"alice/default/{it}"
                for it in ("bb", "b/c", "b/b/c", "b/bcd/bcdefgh", "a/a/a/abc", "e/e/e/e")
            )
        )

    async def test_links(self) -> None:
        elsewhere = OlderFolder(self.mktemp())
        secret = elsewhere.put(("alice", "default", "b"), sealed("b"))
        leaf = self.older.leaf(*A)
        os.symlink(secret.absolute(), leaf / "b")
        os.symlink(secret.absolute(), leaf / "a.flags")
        os.symlink(elsewhere.path.absolute() / "alice", self.older.path / "alice" / "linked")
        os.symlink("nowhere", self.older.path / "carol")
        # Soledad's locks are links, and mean nothing.
        os.symlink("1234", leaf / "a.lock")
        await self.told_beside_a_blob(
            "alice/default/a/a/a/a.flags", "alice/default/a/a/a/b", "alice/linked", "carol"
        )

    async def test_links_to_what_another_user_has(self) -> None:
        """Who deleted a blob there would delete the other one's."""
        elsewhere = OlderFolder(os.path.abspath(self.mktemp()))
        elsewhere.put(("carol", "default", "c"), sealed("c"))
        for name, target in (
            ("aaron", "alice"),
            ("bob", self.older.path.absolute() / "alice"),
            ("carol", elsewhere.path / "carol"),
            ("dave", elsewhere.path / "carol"),
            ("erin", self.older.path.absolute()),
        ):
            os.symlink(target, self.older.path / name)
        await self.told_beside_a_blob("aaron", "bob", "dave", "erin")
        self.assertEqual(self.adoption.report.blobs, 2)

    async def test_pipes(self) -> None:
        leaf = self.older.leaf(*A)
        for name in ("ab", "a.flags"):
            os.mkfifo(leaf / name)
        await self.told_beside_a_blob(*(f"alice/default/a/a/a/{it}" for it in ("ab", "a.flags")))

    async def test_too_short(self) -> None:
        for size, blob_id in ((0, "b0"), (5, "b5"), (724, "b724")):
            self.older.put(("alice", "default", blob_id), sealed("b")[:size])
        self.older.put(("alice", "MX", "b725"), sealed("b")[:725])
        await self.told_beside_a_blob(
            *(f"alice/default/b/{it[:3]}/{it}/{it}" for it in ("b0", "b5", "b724"))
        )
        self.assertEqual(self.adoption.report.blobs, 2)

    async def test_damaged_flags(self) -> None:
        damaged = (
            b"",
            b"\xff",
            b'["PENDING"',
            b'["SEEN"]',
            b'{"PENDING": 1}',
            b'["PENDING"] ' * 999,
        )
        for number, flags in enumerate(damaged):
            self.older.put(("bob", "default", str(number)), sealed(str(number)), b'["FAILED"]')
            self.older.flags(("bob", "default", str(number)), flags)
        await self.told_beside_a_blob(
            *(f"bob/default/{it}/{it}/{it}/{it}.flags" for it in range(len(damaged)))
        )
        self.assertEqual(self.adoption.report.blobs, len(damaged) + 1)

    async def test_a_deleted_id_whose_file_is_odd(self) -> None:
        self.older.put(("alice", "default", "ab"), b"")
        self.older.tombstone(("alice", "default", "ab"))
        backend = await self.open()
        self.assertEqual(await self.listed(backend, "alice"), [])
        self.assertEqual(await self.listed(backend, "alice", deleted=True), ["ab"])
        # It can be used again, and nothing gets in the way.
        await backend.store([(BlobName("alice", "default", "ab"), sealed("new"))])
        self.assertEqual(await self.content(backend, "alice", "default", "ab"), sealed("new"))


class QuotasTests(AdoptionCase):
    async def quotas(self, text: bytes) -> Quotas:
        (self.older.own() / "quotas.json").write_bytes(text)
        backend = await self.open()
        return await backend.catalogue.quotas()

    async def test_right(self) -> None:
        text = b'{"default": 7, "users": {"alice": null, "bob": 0}}'
        self.assertEqual(await self.quotas(text), Quotas(7, {"alice": None, "bob": 0}))
        self.assertEqual((self.told(), self.adoption.report.quotas), ([], 3))

    async def test_no_default(self) -> None:
        self.assertEqual(await self.quotas(b'{"default": null, "users": {}}'), Quotas(None, {}))

    async def test_no_limit_where_it_cannot_be_read(self) -> None:
        for number, (text, expected) in enumerate(
            (
                (b"", Quotas(0, {})),
                (b"[]", Quotas(0, {})),
                (b'{"default": 7}', Quotas(0, {})),
                (b'{"default": 7, "users": [1]}', Quotas(0, {})),
                (b'{"default": -1, "users": {"bob": 5}}', Quotas(0, {"bob": 5})),
                (b'{"default": null, "users": {"bob": "5"}}', Quotas(None, {"bob": 0})),
                (b'{"default": 3, "users": {"b.b": 5}}', Quotas(3, {})),
            )
        ):
            self.older = OlderFolder(f"{self.mktemp()}{number}")
            self.root = str(self.older.path)
            self.assertEqual(await self.quotas(text), expected, text)
            self.assertEqual(self.told(), [".blobman/quotas.json"] * (number + 1))
            self.assertEqual(self.adoption.report.odd, 1)


class UnreadableTests(SynchronousTestCase):
    """What can't be read may be anything: nothing is taken over without it."""

    def setUp(self) -> None:
        # A folder that anybody may look into: root, who may read it all, becomes somebody else.
        root = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, root)
        os.chmod(root, 0o755)
        self.older = OlderFolder(root)

    def take_over(self) -> None:
        connection = connect("", 1024 * 1024)
        is_root = os.geteuid() == 0
        try:
            if is_root:
                os.seteuid(65534)
            upgrade(connection, Adoption(str(self.older.path)))
        finally:
            if is_root:
                os.seteuid(0)
            connection.close()

    def check(self, path: Path) -> None:
        """It can't be taken over as long as this can't be read."""
        path.chmod(0)
        with self.assertRaises(StoreError) as caught:
            self.take_over()
        self.assertIn(str(path.relative_to(self.older.path)), str(caught.exception))
        path.chmod(0o755)
        self.take_over()

    def test_each_kind(self) -> None:
        blob = self.older.put(A, sealed("a"))
        quotas = self.older.own() / "quotas.json"
        quotas.write_bytes(b'{"default": 7, "users": {}}')
        flags = self.older.flags(A, b'["PENDING"]')
        tombstone = self.older.tombstone(("alice", "default", "t" * 254))
        journal = self.older.journal(1, b"x")
        for path in self.older.path.rglob("*"):
            path.chmod(0o755)
        for file in (blob, flags, tombstone, quotas, journal):
            self.check(file)
        for folder in (blob.parent, blob.parents[4], journal.parent):
            self.check(folder)
