"""Somebody who follows a page, and types what the commands ask for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from ..cli.terminals import Terminal, TerminalProcess

PASSPHRASE = "correct horse battery staple"

_CODE = re.compile(rb"^(?:[A-Z2-7]{4}-){13}[A-Z2-7]{4}$", re.MULTILINE)


class Outcome(NamedTuple):
    """What came of a script."""

    code: int
    out: str
    err: str


class Reader(Terminal):
    """A terminal, with somebody at it who knows a passphrase, and who noted the recovery code."""

    async def run(self, command: list[str], environment: dict[str, str], folder: Path) -> Outcome:
        """Run a command, and answer it."""
        self._process = TerminalProcess(self, command, environment, str(folder), inherit=False)
        code = await self._process.ended
        return Outcome(code, self._process.out.decode(), self._process.err.decode())

    def _look(self) -> None:
        question = self.said[self._seen :].rpartition("\n")[2]
        if not question.endswith(": "):
            return
        self._seen = len(self.said)
        if question.startswith("Recovery code"):
            self.type(_CODE.findall(self._process.out)[-1].decode() + "\n")
        elif "passphrase" in question.lower() or question.startswith("The same again"):
            self.type(f"{PASSPHRASE}\n")
