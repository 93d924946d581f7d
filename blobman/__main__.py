"""``blobman`` and ``python -m blobman``."""

from __future__ import annotations

import sys


def main() -> int:
    """
    Run the command line of this process.

    :return: the exit code; see ``blobman.cli.failures``.
    """
    try:
        import click  # noqa: F401
    except ModuleNotFoundError:
        print("blobman: this command needs click: pip install 'blobman[cli]'", file=sys.stderr)
        return 1
    from .cli.entry import run_command_line

    return run_command_line(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
