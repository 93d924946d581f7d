from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
from datetime import datetime

import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SkipTest
from twisted.web.http_headers import Headers

from blobman.protocol import write_authorization
from blobman.server.accounts.tokens import TokenFile

from .harness import ServerCase
from .processes import Process


class _SilentServer(Factory):
    """Takes connections, and answers nothing."""

    def __init__(self) -> None:
        self.connected: Deferred[None] = Deferred()

    def buildProtocol(self, addr: object) -> Protocol:
        if not self.connected.called:
            self.connected.callback(None)
        return Protocol()


class ProcessTests(ServerCase):
    def start(self, *arguments: str) -> Process:
        settings = {name: it for name, it in os.environ.items() if name.startswith("BLOBMAN_")}
        return Process(["-m", "blobman", *arguments], settings)

    async def run_process(self, *arguments: str) -> Process:
        process = self.start(*arguments)
        self.assertEqual(await process.ended, 0, process.err)
        return process

    async def serve_silence(self) -> Deferred[None]:
        factory = _SilentServer()
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        self.let(remote=f"http://127.0.0.1:{port.getHost().port}/blobs/")
        return factory.connected

    def short_folder(self) -> str:
        """Make a folder for a socket, whose path has to be short."""
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        return folder

    async def test_there_and_back_through_three_processes(self) -> None:
        folder = self.short_folder()
        server = self.start(
            "serve", "--data", self.path("served"), "--tokens", self.path("tokens.json"),
            "--listen", "tcp:0:interface=127.0.0.1", "--listen", f"unix:{folder}/socket",
        )  # fmt: skip
        await server.when_written(b"listening on unix:")
        first = server.out.decode().splitlines()[0]
        self.let(remote=f"http://{first.removeprefix('listening on ')}/blobs/")
        content = random.Random(1).randbytes(2_000_000)
        await self.run_process("put", self.write("a", content), "--id", "a")
        self.another_machine()
        self.assertEqual((await self.run_process("get", "a")).out, content)
        server.process.signalProcess("TERM")
        self.assertEqual(await server.ended, 0)
        token = (self.folder / "token").read_bytes().strip()
        self.assertNotIn(token, server.out + server.err)
        self.assertNotIn(b"Traceback", server.err)

    async def test_a_server_that_cant_listen(self) -> None:
        server = self.start(
            "serve", "--data", self.path("served"), "--tokens", self.path("tokens.json"),
            "--listen", f"tcp:{self.url.split(':')[2].split('/')[0]}:interface=127.0.0.1",
        )  # fmt: skip
        self.assertEqual(await server.ended, 1)
        self.assertIn(b"blobman: Couldn't listen on 127.0.0.1:", server.err)
        self.assertNotIn(b"Traceback", server.err)

    async def test_a_server_with_everything(self) -> None:
        folder = self.short_folder()
        services = TokenFile(self.path("services"))
        headers = Headers({"Authorization": [write_authorization("mx", services.add("mx"))]})
        loopback = "tcp:0:interface=127.0.0.1"
        server = self.start(
            "serve", "--data", self.path("served"), "--tokens", self.path("tokens.json"),
            "--listen", loopback, "--incoming", "tcp:0", "--incoming-tokens", services.path,
            "--metrics", loopback, "--metrics", f"unix:{folder}/socket", "--grace", "0.5",
        )  # fmt: skip
        await server.when_written(b"listening on unix:")
        users, incoming, metrics, _ = (
            line.removeprefix("listening on ") for line in server.out.decode().splitlines()
        )
        for method, url, code in (
            ("PUT", f"http://{incoming}/incoming/alice/a", 200),
            ("PUT", f"http://{users}/incoming/alice/a", 404),
            ("GET", f"http://{users}/health", 200),
            ("GET", f"http://{metrics}/metrics", 200),
        ):
            answer = await treq.request(
                method, url, data=b"mail", headers=headers, persistent=False
            )
            await answer.content()
            self.assertEqual(answer.code, code, url)
        server.process.signalProcess("TERM")
        self.assertEqual(await server.ended, 0)

    async def test_interrupting_a_put(self) -> None:
        connected = await self.serve_silence()
        process = self.start("put", self.write("a", b"a"), "--id", "a")
        await connected
        process.process.signalProcess("INT")
        self.assertEqual(await process.ended, 128 + signal.SIGINT)
        shown = f"a  {self.path('a')}  (stored here, NOT sent yet)\n"
        self.assertEqual(process.out, shown.encode())
        self.assertIn(b"left: 1 to send; blobman sync goes on from here\n", process.err)
        self.assertNotIn(b"Traceback", process.err)
        self.let(remote=self.url)
        await self.run_command("sync")
        self.assertEqual((await self.succeed("ls", "--where", "server")).lines, ["a"])

    async def test_watching_tells_what_has_changed(self) -> None:
        await self.put(b"a", "--id", "a")
        process = self.start("sync", "--watch")
        await process.when_written(b" 1 in step\n")
        self.another_machine()
        await self.put(b"b", "--id", "b")
        await process.when_written(b" 2 in step\n")
        await self.run_command("flags", "b", "PENDING")
        await process.when_written(b" flags of b: PENDING\n")
        await self.run_command("flags", "b", "--clear")
        await process.when_written(b" flags of b: none\n")
        await self.run_command("sync")
        await self.succeed("rm", "a")
        await process.when_written(b" deleted a\n")
        process.process.signalProcess("INT")
        self.assertEqual(await process.ended, 128 + signal.SIGINT)
        *lines, last = process.err.decode().splitlines()
        self.assertEqual(last, "blobman: interrupted by SIGINT")
        told = []
        for line in lines:
            time, text = re.fullmatch(r"(\S{10} \S{8}) (.*)", line).groups()  # type: ignore[union-attr]
            datetime.strptime(time, "%Y-%m-%d %H:%M:%S")
            told.append(text)
        self.assertEqual(
            [text for text in told if not text.endswith("in step")],
            ["fetched b, 754 B", "flags of b: PENDING", "flags of b: none", "deleted a"],
        )

    async def test_watching_all_namespaces(self) -> None:
        await self.put(b"a", "--id", "a", "-n", "one")
        self.another_machine()
        process = self.start("sync", "--watch", "1", "--all")
        await process.when_written(b" 1 in step in namespace one\n")
        other = self.path("third store")
        await self.put(b"b", "--id", "b", "-n", "two", "--store", other)
        await process.when_written(b" 1 in step in namespace two\n")
        process.process.signalProcess("TERM")
        self.assertEqual(await process.ended, 128 + signal.SIGTERM)

    async def test_watching_as_json(self) -> None:
        await self.put(b"a", "--id", "a")
        self.another_machine()
        process = self.start("sync", "--watch", "--json")
        await process.when_written(b'"counts": {"SYNCED": 1}')
        await self.put(b"b", "--id", "b", "--store", self.path("third store"))
        await process.when_written(b'"counts": {"SYNCED": 2}')
        process.process.signalProcess("TERM")
        await process.ended
        records = [json.loads(line) for line in process.out.splitlines()]
        for record in records:
            self.assertIsNotNone(datetime.fromisoformat(record.pop("time")).tzinfo)
        self.assertIn(
            {"event": "change", "id": "b", "namespace": "", "kind": "arrived", "flags": []},
            records,
        )
        self.assertEqual(records[-1], {"namespace": "", "counts": {"SYNCED": 2}})

    async def test_terminating_a_get(self) -> None:
        connected = await self.serve_silence()
        process = self.start("get", "a", "-o", self.path("out"))
        await connected
        process.process.signalProcess("TERM")
        self.assertEqual(await process.ended, 128 + signal.SIGTERM)
        self.assertEqual(process.err, b"blobman: interrupted by SIGTERM\n")
        self.assertNotIn("out", os.listdir(self.folder))

    async def test_interrupting_what_writes_to_nobody(self) -> None:
        await self.put(b"x" * 1_000_000, "--id", "a")
        process = self.start("get", "a")
        process.process.pauseProducing()
        reading: Deferred[None] = process.when_written(b"x")
        process.process.pipes[1].resumeProducing()
        await reading
        process.process.pauseProducing()
        process.process.signalProcess("INT")
        process.process.closeStdin()
        process.process.resumeProducing()
        self.assertEqual(await process.ended, 128 + signal.SIGINT, process.err)

    async def test_whoever_reads_has_had_enough(self) -> None:
        await self.put(b"x" * 1_000_000, "--id", "a")
        process = self.start("get", "a")
        process.process.closeStdout()
        self.assertEqual(await process.ended, 141, process.err)
        self.assertEqual(process.err, b"")

    async def test_whoever_reads_results_has_had_enough(self) -> None:
        paths = [self.write(name, b"x" * 1_000_000) for name in "abc"]
        for options in (), ("--json",):
            process = self.start("put", *paths, *options)
            process.process.closeStdout()
            self.assertEqual(await process.ended, 141, process.err)
            self.assertEqual(process.err, b"")

    async def test_without_click(self) -> None:
        script = "import sys; sys.modules['click'] = None; import blobman.__main__ as m; "
        process = Process(["-c", script + "sys.exit(m.main())"], {})
        self.assertEqual(await process.ended, 1)
        self.assertEqual(
            process.err, b"blobman: this command needs click: pip install 'blobman[cli]'\n"
        )

    async def test_completion(self) -> None:
        if sys.platform == "win32":
            raise SkipTest("no bash")
        process = Process(["-m", "blobman"], {"_BLOBMAN_COMPLETE": "bash_source"})
        self.assertEqual(await process.ended, 0)
        self.assertIn(b"_BLOBMAN_COMPLETE=bash_complete", process.out)
