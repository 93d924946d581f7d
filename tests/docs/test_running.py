"""The page about running a server: its commands, and the options in its unit."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

from twisted.internet.utils import getProcessOutputAndValue

from blobman.server.running.plugin import Options
from blobman.server.storage.backends import folder_backend

from ..server.blobs import name, sealed
from ..server.certificates import write_certificate
from ..server.postgres import USER, shared_cluster
from .pages import Example, find_examples, make_script, split_output
from .test_examples import DOCS, ExampleCase, environment

PAGE = "running-a-server.md"
VECTORS = Path(__file__).parents[1] / "vectors"

SHIMS = {
    "useradd": "",
    "systemctl": "",
    # The database is there already, on a socket that PGHOST names.
    "createuser": "",
    "createdb": "",
    "sudo": 'shift 2; exec "$@"',
    # There may be no user blobman, and who runs this may not be root.
    "install": 'for it; do shift; case $it in -[og]) skip=1;; *) [ "$skip" ] || set -- "$@" "$it"; '
    f'skip=;; esac; done; exec {shutil.which("install")} "$@"',
}
"""What is done in place of commands that change the machine."""


class RunningTests(ExampleCase):
    if shutil.which("bash") is None:
        skip = "needs bash"

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        for each in ("etc/letsencrypt/live/blobs.example.org", "var/lib", "opt", "srv"):
            (self.folder / each).mkdir(parents=True)
        shutil.copytree(VECTORS / "soledad-server-dir" / "data", self.folder / "srv" / "soledad")

    def here(self, text: str) -> str:
        """Put the folder of the test in front of paths."""
        return re.sub("(?<![\\w.])/(etc|var|opt|srv)/", rf"{self.folder}/\1/", text)

    def examples(self) -> list[Example]:
        return [it for it in find_examples(DOCS / PAGE) if "pip install" not in it.code]

    async def run_page(self) -> None:
        certificates = self.folder / "etc/letsencrypt/live/blobs.example.org"
        key, certificate = map(Path, write_certificate(str(certificates)))
        key.rename(certificates / "privkey.pem")
        shutil.copy(certificate, certificates / "chain.pem")
        backend = folder_backend(self.here("/var/lib/blobman"))
        await backend.open()
        await backend.store([(name("a"), sealed())])
        await backend.close()
        shared_cluster().run("CREATE DATABASE blobman")
        self.addCleanup(shared_cluster().drop_database, "blobman")
        database = {"PGHOST": shared_cluster().folder, "PGUSER": USER}
        variables = {**environment(self.mktemp(), self.folder), **database}
        tools = Path(variables["PATH"].split(":")[0])
        for command, code in SHIMS.items():
            (tools / command).write_text(f"#!/bin/sh\n{code}\n")
            (tools / command).chmod(0o755)
        output, errors, code = await getProcessOutputAndValue(
            shutil.which("bash"), ["-c", self.here(make_script(self.examples()))], variables
        )
        # What is said of tokens, their ids, is no complaint.
        said = [line for line in errors.splitlines() if not line.startswith(b"Its id is ")]
        self.assertEqual((code, said), (0, []), output)
        for number, printed in split_output(output.decode()).items():
            self.check(PAGE, self.examples()[number], printed)

    async def test_commands_and_unit(self) -> None:
        await self.run_page()
        text = (DOCS / PAGE).read_text().replace("\\\n", " ")
        (line,) = re.findall("^ExecStart=(.*)", text, re.MULTILINE)
        program, *arguments = shlex.split(line)
        self.assertEqual(program, "/opt/blobman/bin/twist")
        options = Options()
        # The key and the certificate are where the page has put them.
        options.parseOptions(list(map(self.here, arguments[arguments.index("blobman") + 1 :])))
        self.assertEqual(len(options["listen"]), 1)

    def test_options_in_the_text(self) -> None:
        text = (DOCS / PAGE).read_text()
        settings = ["--data", "data", "--tokens", "tokens", "--listen", "tcp:0"]
        named = re.findall("`(--(?:listen|incoming|metrics) [^`]*)`", text)
        self.assertEqual(len(named), 3)
        for options in named:
            Options().parseOptions([*settings, *shlex.split(options)])
