"""The commands in docs/protocol.md print what the page shows."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from twisted.internet.interfaces import IListeningPort
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from blobman.server.accounts.tokens import TokenFile
from blobman.server.running.administration import set_quota
from blobman.server.running.configuration import make_service

PAGE = Path(__file__).parent.parent.parent.parent / "docs" / "protocol.md"
EXAMPLE = re.compile(r"```sh\n(.*?)```\n```text\n(.*?)```\n", re.DOTALL)
LOOPBACK = "tcp:0:interface=127.0.0.1"


class ProtocolPageTests(TestCase):
    if shutil.which("curl") is None:
        skip = "needs curl"

    async def test_every_command(self) -> None:
        folder = os.path.abspath(self.mktemp())
        os.mkdir(folder)
        tokens, services = TokenFile(f"{folder}/tokens"), TokenFile(f"{folder}/services")
        environment = {
            "PATH": os.environ["PATH"],
            "TOKEN": tokens.add("alice"),
            "SERVICE_TOKEN": services.add("mx"),
        }
        set_quota(f"{folder}/data", "alice", 1_000_000)
        service = make_service(
            f"{folder}/data",
            tokens.path,
            [LOOPBACK],
            incoming=[LOOPBACK],
            incoming_tokens=services.path,
        )
        service.startService()
        self.addCleanup(service.stopService)
        users, incoming = await service.when_listening()
        environment |= {"BASE": url_of(users), "INCOMING": url_of(incoming)}
        examples = EXAMPLE.findall(PAGE.read_text())
        self.assertEqual(len(examples), PAGE.read_text().count("```sh"))
        script = "\necho =====\n".join(commands for commands, _ in examples)
        output, errors, _ = await getProcessOutputAndValue(
            "/bin/sh", ["-c", script], environment, folder
        )
        self.assertEqual(errors, b"")
        for (commands, expected), printed in zip(
            examples, output.decode().split("=====\n"), strict=True
        ):
            self.assertEqual(printed, expected, commands)


def url_of(port: IListeningPort) -> str:
    number = getattr(port.getHost(), "port")  # noqa: B009
    return f"http://127.0.0.1:{number}"
