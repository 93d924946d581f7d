"""From a command line to an exit code."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from .failures import describe_error, exit_code, is_debugging
from .root import root
from .terminal import leave_echo, tell
from .work import Work


def run_command_line(arguments: Sequence[str]) -> int:
    """
    Do what a command line says, and report on standard error if that fails.

    :return: the exit code.
    """
    try:
        with _interruptible():
            work = parse(arguments)
            code = work if isinstance(work, int) else _run(work)
            sys.stdout.flush()
            return code
    except BrokenPipeError:
        # Who reads has had enough. Python would complain about it once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return report(click.Abort())
    except Exception as error:
        return report(error)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let signals raise inside what can be ended well; outside, they just end the process."""
    handlers = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: _end,
        signal.SIGHUP: _end,
    }
    heard = [it for it in handlers if signal.getsignal(it) is signal.SIG_DFL]
    for number in heard:
        signal.signal(number, handlers[number])
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, signal.SIG_DFL)


def _end(number: int, frame: types.FrameType | None) -> None:
    """Leave what is being done, such as asking for a passphrase that is not to be shown."""
    sys.exit(128 + number)


def _run(work: Work) -> int:
    from .running import run

    return run(work)


def parse(arguments: Sequence[str]) -> Work | int:
    """
    Read a command line, and do what does not have to wait.

    :return: the work that is left to do; or an exit code, if none is.
    :raise click.ClickException: it is wrong.
    """
    outcome: Work | int | None = root.main(
        list(arguments), prog_name="blobman", standalone_mode=False
    )
    return 0 if outcome is None else outcome


def report(error: Exception) -> int:
    """
    Report an error on standard error.

    :return: the exit code.
    """
    if is_debugging():
        for line in "".join(traceback.format_exception(error)).splitlines():
            tell(line)
    if isinstance(error, click.Abort):
        leave_echo()
    tell(f"blobman: {describe_error(error)}")
    return exit_code(error)
