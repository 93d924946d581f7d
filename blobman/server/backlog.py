"""
Small blobs that are durable in the journal, and whose files are still to be made.

A file of its own, in two or three new folders, takes a server five times as long as a blob's place
in the journal. So when many come at once, they are answered for first, and their files follow as
soon as there is nothing else to do, or the journal is to be emptied. Until then they are read from
memory, and the index already says what their files will be like.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from .index import Entry
from .storage import BlobName

OVERHEAD = 1024
"""Bytes that each takes besides its content, more or less."""

QUIET = 0.1
"""Seconds in which nothing was asked for, after which their files are made."""

PORTION = 32
"""How many files are made before it is seen whether anything is asked for."""


class Waiting(NamedTuple):
    """
    A blob whose file is to be made.

    :ivar date: when it was stored, in nanoseconds since the epoch.
    """

    content: bytes
    date: int

    @property
    def entry(self) -> Entry:
        """What its file will be like."""
        return Entry(len(self.content), self.date, 0, None)


class Backlog:
    """
    The blobs that wait. They come and go under the locks of their names; who only reads one needs
    none, for its file is there before it goes.

    :param limit: bytes of memory that they may take; 0 if none are to wait.
    :ivar limit: the same.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._size = 0
        self._waiting: dict[BlobName, Waiting] = {}

    def __contains__(self, name: BlobName) -> bool:
        return name in self._waiting

    def get(self, name: BlobName) -> Waiting | None:
        """Give a blob, if it waits."""
        return self._waiting.get(name)

    def names(self) -> list[BlobName]:
        """Name those that wait, the oldest first."""
        with self._lock:
            return list(self._waiting)

    def has_room(self, content: bytes, beside: int) -> bool:
        """
        Tell whether a blob can wait.

        :param beside: bytes of others that are about to.
        """
        return self._size + beside + len(content) + OVERHEAD <= self.limit

    def add(self, blobs: Mapping[BlobName, Waiting]) -> None:
        """Have blobs wait."""
        with self._lock:
            self._waiting |= blobs
            self._size += sum(map(_size, blobs.values()))

    def remove(self, names: Iterable[BlobName]) -> None:
        """Have these wait no more."""
        with self._lock:
            gone = [self._waiting.pop(name) for name in names if name in self._waiting]
            self._size -= sum(map(_size, gone))

    def clear(self) -> None:
        """Forget them: what is to become of them is in the journal."""
        self.remove(self.names())


def _size(waiting: Waiting) -> int:
    return len(waiting.content) + OVERHEAD


class Follower:
    """
    A thread that has the files made when there is nothing else to do.

    :param names: names the blobs that wait.
    :param place: makes the files of some. What it raises is for ``failed``; it is tried again when
        more blobs have come.
    :param failed: told what was raised, in the thread.
    """

    def __init__(
        self,
        names: Callable[[], list[BlobName]],
        place: Callable[[Collection[BlobName]], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._names = names
        self._place = place
        self._failed = failed
        self._changed = threading.Condition()
        self._is_due = False
        self._was_disturbed = False
        self._ended = False
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Blobs have come, and wait."""
        with self._changed:
            if self._thread is None:
                # A daemon: what it has not come to is in the journal.
                name = "blobs-files"
                self._thread = threading.Thread(target=self._follow, name=name, daemon=True)
                self._thread.start()
            self._is_due = self._was_disturbed = True
            self._changed.notify()

    def put_off(self) -> None:
        """Something else is asked for."""
        self._was_disturbed = True

    def _follow(self) -> None:
        while self._wait():
            if not self._catch_up():
                with self._changed:
                    self._is_due = True

    def _wait(self) -> bool:
        """Wait until there are some, and nothing else to do; give whether this goes on."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_due or self._ended)
            while self._was_disturbed and not self._ended:
                self._was_disturbed = False
                self._changed.wait(QUIET)
            # Before the names are asked for: those that come later are to be noticed.
            self._is_due = False
            return not self._ended

    def _catch_up(self) -> bool:
        """Make files until something else is asked for; give whether that is all for now."""
        names = self._names()
        try:
            for start in range(0, len(names), PORTION):
                if self._was_disturbed or self._ended:
                    return False
                self._place(names[start : start + PORTION])
        except Exception as error:
            self._failed(error)
        return True

    def end(self) -> None:
        """End the thread, and leave those that wait as they are."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
