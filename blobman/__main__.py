"""``blobman`` and ``python -m blobman``."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """
    Run the command line of this process.

    :return: the exit code; see ``blobman.cli.failures``.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # As long as there is nothing to be ended well, Ctrl-C just ends the process.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        import click  # noqa: F401
    except ModuleNotFoundError:
        print("blobman: this command needs click: pip install 'blobman[cli]'", file=sys.stderr)
        return 1
    from .cli.entry import run_command_line
    from .cli.streams import replace_closed

    replace_closed()
    return run_command_line(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
