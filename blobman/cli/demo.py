"""``blobman demo``."""

from __future__ import annotations

from typing import Any

import click

from .paths import complete_file
from .work import Work


@click.command("demo")
@click.argument("files", metavar="[FILE]...", nargs=-1, shell_complete=complete_file)
def demo(files: tuple[str, ...]) -> Work:
    """
    Show a laptop, a phone and a server at work.

    The laptop puts files, the phone gets them, and what arrives is compared with what left:
    the FILEs given, or four that are made for it, of 0 bytes to 50 MB. All of it happens on
    this machine, in a temporary folder that goes away. The exit code is 1 if anything differs.
    """

    async def work(reactor: Any) -> int:
        from .demonstration import demonstrate

        return await demonstrate(reactor, files)

    return Work(work)
