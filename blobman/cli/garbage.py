"""Python's garbage collector, in a process that is blobman's own."""

from __future__ import annotations

import gc

THRESHOLD = 2_000
"""How many more objects there are when the collector looks for cycles: by default, 700."""


def collect_rarely() -> None:
    """
    Leave out of every collection what has been imported, and have fewer of them.

    A transfer takes some dozens of objects, and leaves nothing to the collector, unless it fails:
    then its traceback holds them. Looking for cycles after every few transfers takes a sixth of the
    processor's time, and goes through all that is imported again and again.
    """
    gc.freeze()
    gc.set_threshold(THRESHOLD, 5, 100)
