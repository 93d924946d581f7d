"""Runs some lines of Python in a process of its own, with a store open."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import blobman

_FRAME = """
import io, os, sys
from twisted.internet import defer, task
from blobman.local import BlobStore
from blobman.model import Priority, SyncStatus
from tests.local.contract import content

async def main(reactor):
    folder = sys.argv[1]
    store = BlobStore(folder, 'user', b'the right key')

    def put(blob_id, size, **more):
        return store.put(blob_id, io.BytesIO(content(size)), size, **more)

    def say(*words):
        print(*words, flush=True)

{lines}
    await store.close()

task.react(lambda reactor: defer.Deferred.fromCoroutine(main(reactor)))
"""


def start(folder: Path, lines: str) -> subprocess.Popen[str]:
    """Start a process that has ``store``, ``put(id, size)``, ``content(size)`` and ``say``."""
    program = _FRAME.format(lines=textwrap.indent(textwrap.dedent(lines).strip("\n"), "    "))
    return subprocess.Popen(
        [sys.executable, "-c", program, str(folder)],
        cwd=Path(blobman.__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


_KILLED = """
import threading

left = [{calls}]

def count(*_):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), 9)

threading.setprofile(count)
"""


def start_dying(folder: Path, lines: str, calls: int) -> subprocess.Popen[str]:
    """Start such a process, which kills itself at a call of a function in the store's threads."""
    return start(folder, _KILLED.format(calls=calls) + textwrap.dedent(lines))


def run(folder: Path, lines: str) -> subprocess.CompletedProcess[str]:
    """
    Run such a process to its end.

    :raise AssertionError: it failed otherwise than by being killed.
    """
    process = start(folder, lines)
    out, err = process.communicate(timeout=900)
    assert process.returncode in (0, -9), err
    return subprocess.CompletedProcess([], process.returncode, out, err)
