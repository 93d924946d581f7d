"""Ctrl-C at moments at which little is ready for it."""

from __future__ import annotations

import os
import signal

from .harness import ServerCase
from .processes import Process

ON_IMPORT = """
import os, signal, sys
wanted = sys.argv.pop(1)
class Interrupter:
    def find_spec(self, name, path=None, target=None):
        if name == wanted:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupter())
import blobman.__main__
sys.exit(blobman.__main__.main())
"""

IN_FUNCTION = """
import importlib, os, signal, sys
module, owner, name, number = sys.argv.pop(1).split()
where = importlib.import_module(module)
where = getattr(where, owner) if owner != "-" else where
original = getattr(where, name)
def interrupt(*arguments, **others):
    setattr(where, name, original)
    os.kill(os.getpid(), int(number))
    return original(*arguments, **others)
setattr(where, name, interrupt)
import blobman.__main__
sys.exit(blobman.__main__.main())
"""

NO_ANSWER = """
import socket, sys, threading
def look_up(*arguments, **others):
    print("looking up", file=sys.stderr, flush=True)
    threading.Event().wait()
socket.getaddrinfo = look_up
import blobman.__main__
sys.exit(blobman.__main__.main())
"""


class InterruptionTests(ServerCase):
    def start(self, script: str, *arguments: str) -> Process:
        settings = {name: it for name, it in os.environ.items() if name.startswith("BLOBMAN_")}
        process = Process(["-c", script, *arguments], settings)
        self.addCleanup(process.kill)
        return process

    async def check(self, process: Process, number: int = signal.SIGINT) -> None:
        self.assertIn(await process.ended, (-number, 128 + number), process.err)
        self.assertNotIn(b"Traceback", process.err)
        self.assertNotIn(b"KeyboardInterrupt", process.err)

    async def test_while_modules_are_imported(self) -> None:
        for module in (
            "blobman.errors",
            "blobman.model",
            "click",
            "blobman.cli.entry",
            "blobman.cli.root",
            "blobman.cli.running",
            "twisted.internet.reactor",
            "blobman.manager",
            "apsw",
            "blobman.cli.progress",
        ):
            with self.subTest(module):
                await self.check(self.start(ON_IMPORT, module, "sync", "--watch", "99"))

    async def test_while_the_reactor_starts_and_ends(self) -> None:
        for where in (
            "blobman.cli.entry - parse",
            "blobman.cli.settings Settings unlock",
            "blobman.cli.running - begin_log",
            "blobman.cli.running - collect_rarely",
            "blobman.cli.running _Running start",
            "twisted.internet.base ReactorBase startRunning",
            "twisted.internet.base ReactorBase fireSystemEvent",
            "twisted.internet.posixbase PosixReactorBase mainLoop",
        ):
            for number in (signal.SIGINT, signal.SIGTERM):
                process = self.start(IN_FUNCTION, f"{where} {int(number)}", "sync", "--watch", "99")
                with self.subTest(where, number=number):
                    await self.check(process, number)

    async def test_when_the_work_has_ended(self) -> None:
        for where in ("_Running outcome", "_Running _be_deaf"):
            arguments = f"blobman.cli.running {where} {int(signal.SIGINT)}", "sync"
            process = self.start(IN_FUNCTION, *arguments)
            self.assertIn(await process.ended, (0, -signal.SIGINT, 130))
            self.assertNotIn(b"Traceback", process.err)

    async def test_what_is_to_be_ignored_is_ignored(self) -> None:
        script = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + ON_IMPORT
        process = self.start(script, "blobman.cli.running", "sync")
        self.assertEqual((await process.ended, process.err), (0, b"0 in step\n"))

    async def test_while_nobody_answers_for_the_name_of_a_host(self) -> None:
        self.let(remote="https://no-such-host.invalid/blobs/")
        for number in (signal.SIGINT, signal.SIGTERM):
            process = self.start(NO_ANSWER, "sync")
            await process.when_written(b"looking up")
            process.process.signalProcess(number)
            self.assertEqual(await process.ended, 128 + number)
            self.assertNotIn(b"Traceback", process.err)
