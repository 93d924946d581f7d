"""The processes that run ``checking.py``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress

from . import checking
from .checking import Request

_PATIENCE = 5.0


class Checkers:
    """
    Processes that check files; they are started when they are needed, and kept.

    Their methods block; they may be called from several threads.

    :param index: the path of the index.
    """

    def __init__(self, index: str) -> None:
        self._index = index
        self._lock = threading.Lock()
        self._idle: list[subprocess.Popen[bytes]] = []

    def differing(self, request: Request) -> list[str]:
        """
        Check in one of the processes; see :func:`checking.differing`.

        :raise OSError: it could not be started, or has ended.
        """
        with self._lock:
            process = self._idle.pop() if self._idle else None
        process = process or self._start()
        try:
            found = self._ask(process, request)
        except BaseException:
            process.kill()
            _end(process)
            raise
        with self._lock:
            self._idle.append(process)
        return found

    def _start(self) -> subprocess.Popen[bytes]:
        program = os.path.abspath(checking.__file__)
        return subprocess.Popen(
            [sys.executable, "-I", program, self._index],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # If one fails, what it did is tried here, and fails in a better place.
            stderr=subprocess.DEVNULL,
            # What is typed at the server's terminal is not for them.
            start_new_session=True,
        )

    def _ask(self, process: subprocess.Popen[bytes], request: Request) -> list[str]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line.endswith(b"\n"):
            raise OSError("a process that checks files has ended")
        found: list[str] = json.loads(line)
        return found

    def close(self) -> None:
        """End the processes. None may be in use."""
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
