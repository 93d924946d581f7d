from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase, TestCase

import blobman
from blobman.cli.root import root
from blobman.server.running.service import GRACE

from .processes import Process

HEAVY = ("OpenSSL", "apsw", "asyncio", "attr", "cryptography", "keyring", "prometheus_client",
         "sqlite3", "ssl", "treq", "twisted", "zope.interface")  # fmt: skip
"""What takes long to import, and is for commands that do something."""

SCRIPT = f"""
import sys
from blobman.cli.entry import run_command_line
code = run_command_line(sys.argv[1:])
sys.stderr.write(" ".join(sorted(set({HEAVY!r}) & set(sys.modules))))
sys.exit(code)
"""


class ImportTests(TestCase):
    async def loaded_by(self, *arguments: str) -> str:
        process = Process(["-c", SCRIPT, *arguments], {})
        self.assertEqual(await process.ended, 0, process.err)
        self.assertTrue(process.out)
        return process.err.decode()

    async def test_what_only_shows_something_imports_nothing_heavy(self) -> None:
        groups = ["token", "quota", "server"]
        for arguments in (
            ["--version"],
            ["--help"],
            ["completion", "bash"],
            *([name, "--help"] for name in ("ls", "put", "sync", "serve", "demo", "init")),
            *([name, "--help"] for name in groups),
        ):
            self.assertEqual(await self.loaded_by(*arguments), "", arguments)

    async def test_it_would_be_noticed(self) -> None:
        script = SCRIPT.replace("import sys\n", "import sys, twisted\n", 1)
        process = Process(["-c", script, "--version"], {})
        self.assertEqual((await process.ended, process.err), (0, b"twisted"))


class PublicNameTests(SynchronousTestCase):
    def test_every_name_can_be_had(self) -> None:
        for name in blobman.__all__:
            self.assertIsNotNone(getattr(blobman, name))
        self.assertLessEqual(set(blobman.__all__), set(dir(blobman)))

    def test_no_other_is_listed(self) -> None:
        names = [name for names in blobman._IMPORTED_WHEN_USED.values() for name in names]
        self.assertEqual(sorted(names), sorted(blobman.__all__))

    def test_other_names_can_not(self) -> None:
        with self.assertRaisesRegex(AttributeError, "module 'blobman' has no attribute 'nonsense'"):
            blobman.nonsense  # type: ignore[attr-defined]  # noqa: B018
        with self.assertRaises(ImportError):
            exec("from blobman import nonsense")


class DefaultTests(SynchronousTestCase):
    def test_the_grace_is_that_of_the_server(self) -> None:
        [grace] = [it for it in root.commands["serve"].params if it.name == "grace"]
        self.assertEqual(grace.default, GRACE)
