"""A real server on loopback, with TLS, and command lines that are run in this process."""

from __future__ import annotations

import datetime
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from twisted.internet import reactor
from twisted.internet.endpoints import quoteStringArgument
from twisted.trial.unittest import TestCase

from blobman.cli.certificates import CertificateFiles, make_certificates
from blobman.cli.entry import parse, report
from blobman.cli.secretfiles import new_secret, write_secret
from blobman.server.accounts.tokens import TokenFile
from blobman.server.running.configuration import make_service

from ..ports import own_port

USER = "alice"
NOWHERE = "https://127.0.0.1:1/blobs/"


class Outcome(NamedTuple):
    """What a command line gave."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def records(self) -> list[dict[str, Any]]:
        """The results, without events."""
        return [it for it in map(json.loads, self.lines) if "event" not in it]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [it for it in map(json.loads, self.lines) if "event" in it]


class CommandCase(TestCase):
    """Runs command lines. No variable ``BLOBMAN_...`` is set, and the user's folders are empty."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        others = {name: it for name, it in os.environ.items() if not name.startswith("BLOBMAN_")}
        home = self.path("home")
        own = {"HOME": home, "XDG_CONFIG_HOME": f"{home}/config", "XDG_DATA_HOME": f"{home}/data"}
        self.patch(os, "environ", {**others, **own})

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def write(self, name: str, content: bytes) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o600)
        return str(path)

    def let(self, **variables: str) -> None:
        """Set variables ``BLOBMAN_...`` for the rest of the test."""
        os.environ.update({f"BLOBMAN_{name.upper()}": it for name, it in variables.items()})

    async def run_command(self, *arguments: str) -> Outcome:
        """Run a command line as ``blobman`` does, under the reactor that runs already."""
        out, err = (tempfile.TemporaryFile("w+") for _ in range(2))  # noqa: SIM115
        stdout, stderr = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = out, err
        try:
            code = await self._carry_out(arguments)
        finally:
            sys.stdout, sys.stderr = stdout, stderr
        texts = []
        for file in (out, err):
            file.flush()
            file.seek(0)
            texts.append(file.read())
            file.close()
        return Outcome(code, *texts)

    async def _carry_out(self, arguments: tuple[str, ...]) -> int:
        try:
            work = parse(arguments)
            return work if isinstance(work, int) else (await work.begin(reactor) or 0)
        except Exception as error:
            return report(error)

    async def succeed(self, *arguments: str) -> Outcome:
        """Run a command line that has nothing to complain about."""
        outcome = await self.run_command(*arguments)
        self.assertEqual((outcome.code, outcome.err), (0, ""))
        return outcome

    async def refuse(self, code: int, *arguments: str) -> str:
        """Run a command line that fails, with one line on standard error, which this returns."""
        outcome = await self.run_command(*arguments)
        self.assertEqual(outcome.code, code, outcome)
        lines = outcome.err.splitlines()
        self.assertEqual(len(lines), 1, outcome.err)
        self.assertTrue(lines[0].startswith("blobman: "), lines)
        return lines[0].removeprefix("blobman: ")


def tls_endpoint(port: int, certificates: CertificateFiles) -> str:
    """Describe a place on loopback to listen at."""
    key, certificate = map(quoteStringArgument, (certificates.key, certificates.certificate))
    return f"ssl:{port}:interface=127.0.0.1:privateKey={key}:certKey={certificate}"


class ServerCase(CommandCase):
    """Has a server, and settings for it in the variables."""

    async def setUp(self) -> None:  # type: ignore[override]
        super().setUp()
        self.certificates = make_certificates(
            str(self.folder), datetime.datetime.now(datetime.timezone.utc)
        )
        self.tokens = TokenFile(self.path("tokens.json"))
        await self.start_server()
        for name in ("key", "secret"):
            write_secret(self.path(name), new_secret())
        write_secret(self.path("token"), self.tokens.add(USER))
        self.let(
            remote=self.url,
            user=USER,
            token_file=self.path("token"),
            ca=self.certificates.authority,
            store=self.path("store"),
            key_file=self.path("key"),
            secret_file=self.path("secret"),
        )

    async def start_server(self) -> None:
        port = await self.serve_at(tls_endpoint(own_port(self), self.certificates))
        self.url = f"https://127.0.0.1:{port}/blobs/"

    async def serve_at(self, listen: str) -> int:
        """Start a server, and give its port."""
        # Some tests look at the files: they should be there at once.
        service = make_service(self.path("data"), self.tokens.path, [listen], reactor)
        self.service = service
        service.startService()
        self.addCleanup(service.stopService)
        [port] = await service.when_listening()
        address: Any = port.getHost()
        return int(address.port)

    async def put(self, content: bytes, *options: str) -> str:
        """Put a blob, and give its id."""
        outcome = await self.succeed("put", self.write("content", content), *options)
        return outcome.out.split()[0]

    def another_machine(self) -> None:
        """Have a store of its own from now on."""
        self.let(store=self.path("other store"))
