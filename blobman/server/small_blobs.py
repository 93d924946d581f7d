"""
Small blobs: durable in the journal, visible in the backlog or in their places, durable there.

All of this blocks.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping

from twisted.logger import Logger

from ..errors import BlobAlreadyExistsError
from . import disk
from .backlog import OVERHEAD, PORTION, Backlog, Waiting
from .index import Entry
from .journal import Journal
from .locks import NameLocks
from .places import Places
from .storage import BlobName
from .ways import Ways

SPARE = 256 * 1024 * 1024
"""Bytes that have to be free where files are to be made later, so that it is no vain promise."""

SPARE_FILES = 100_000
"""Likewise: how many more files and folders there can be."""


class SmallBlobs:
    """
    The journal and the backlog of a folder, and how files come from there to their places.

    Where nothing else is said, the locks of the names are held.

    :param journal: a folder for it.
    :param backlog: bytes of blobs whose files need not be there at once.
    :param places: where files belong.
    :param ways: makes the folders on the way there.
    :param locks: the locks of the names.
    :param new_path: thinks of a path for a file until it is whole.
    :param note: takes down what files have turned out to be like.
    :param sync_all: makes the whole file system durable.
    """

    _log = Logger()

    def __init__(
        self,
        journal: str,
        backlog: int,
        *,
        places: Places,
        ways: Ways,
        locks: NameLocks,
        new_path: Callable[[], str],
        note: Callable[[BlobName, Entry], None],
        sync_all: Callable[[], None],
    ) -> None:
        self.journal = Journal(journal)
        self.backlog = Backlog(backlog)
        self._places = places
        self._ways = ways
        self._locks = locks
        self._new_path = new_path
        self._note = note
        self._sync_all = sync_all
        # The folders of namespaces in which a file has just been made: there, more can be.
        self._usable: set[str] = set()

    def look(self, name: BlobName) -> Entry:
        """Tell what the files of a name are like, or will be; its lock need not be held."""
        waiting = self.backlog.get(name)
        return waiting.entry if waiting else self._places.look(name)

    def check_absent(self, name: BlobName) -> None:
        """
        Look whether a name is free.

        :raise BlobAlreadyExistsError: it is taken.
        """
        if name in self.backlog:
            raise BlobAlreadyExistsError(f"{name} exists")
        self._places.check_absent(name)

    # -- coming ------------------------------------------------------------------------

    def keep(self, blobs: Mapping[BlobName, Waiting], entries: dict[BlobName, Entry]) -> None:
        """
        Make blobs durable, and the files of those that can't wait.

        :param entries: takes what their files are like, or will be.
        :raise OSError: one of them can't be kept; those in ``entries`` are in their places.
        """
        can_wait = self._which_can_wait(blobs)
        heirs = disk.Heirs()
        contents = [(name, content) for name, (content, _) in blobs.items()]
        with self.journal.kept(contents, [date for _, date in blobs.values()]):
            for name, (content, date) in blobs.items():
                if name not in can_wait:
                    entries[name] = self._put_in_place(name, content, heirs, date=date)
                    self._usable.add(self._places.namespace(name))
            self.backlog.add(can_wait)
        entries |= {name: waiting.entry for name, waiting in can_wait.items()}

    def _which_can_wait(self, blobs: Mapping[BlobName, Waiting]) -> dict[BlobName, Waiting]:
        """Choose those whose files can be made later, with nothing in their way."""
        can_wait: dict[BlobName, Waiting] = {}
        size = 0
        usable = self._usable.intersection(map(self._places.namespace, blobs))
        usable = {it for it in usable if disk.has_room(it, SPARE, SPARE_FILES)}
        for name, waiting in blobs.items():
            if (
                self._places.namespace(name) in usable
                and self.backlog.has_room(waiting.content, size)
                and not os.path.lexists(self._places.folder(name))
            ):
                can_wait[name] = waiting
                size += len(waiting.content) + OVERHEAD
        return can_wait

    def let_go(self, *names: BlobName) -> None:
        """Free names from the journal, before they change in a way that is not in there."""
        held = [name for name in names if self.journal.holds(name)]
        if held:
            self._make_each_durable(held)
            self.journal.let_go(held)

    # -- files -------------------------------------------------------------------------

    def place(self, names: Collection[BlobName]) -> None:
        """
        Make the files of those that wait for theirs. It takes their locks.

        :raise OSError: one can't be made; it goes on waiting, and the others are made.
        """
        errors = []
        waiting = [name for name in names if name in self.backlog]
        for start in range(0, len(waiting), PORTION):
            some = waiting[start : start + PORTION]
            with self._locks.all(some):
                errors += self.place_each(some)
        if errors:
            raise errors[0]

    def place_each(self, names: Iterable[BlobName]) -> list[OSError]:
        """Do so, while their locks are held; give what went wrong."""
        errors: list[OSError] = []
        heirs = disk.Heirs()
        for name in names:
            waiting = self.backlog.get(name)
            if waiting is not None:
                try:
                    self._place(name, waiting, heirs)
                except OSError as error:
                    self._usable.discard(self._places.namespace(name))
                    errors.append(error)
        return errors

    def _place(self, name: BlobName, waiting: Waiting, heirs: disk.Heirs) -> None:
        content, date = waiting
        if disk.status_of(self._places.blob(name)) is not None:
            # Somebody else has put it there, and files count.
            self.let_go(name)
            entry = self._places.look(name)
        else:
            entry = self._put_in_place(name, content, heirs, date=date)
        self.backlog.remove([name])
        if entry != waiting.entry:
            self._note(name, entry)

    def _put_in_place(
        self,
        name: BlobName,
        content: bytes,
        heirs: disk.Heirs,
        move: Callable[[str, str], None] = disk.move_to_free_place,
        date: int | None = None,
    ) -> Entry:
        """
        Make the file of a blob, whole when it appears; it is not durable.

        :param date: in nanoseconds since the epoch; None for now.
        :return: what the files of the name are like then.
        """
        path, place = self._new_path(), self._places.blob(name)
        is_folder_new = self._ways.make(os.path.dirname(place), heirs)
        status = disk.write_new(path, content, heirs, date)
        deleted = None
        try:
            if is_folder_new:
                # In it is nothing that could be replaced, no flags and no tombstone.
                os.replace(path, place)
            else:
                disk.remove(self._places.flags(name))
                deleted = self._places.deleted_at(name)
                move(path, place)
        except BaseException:
            disk.remove(path)
            raise
        return Entry(status.st_size, status.st_mtime_ns, 0, deleted)

    # -- emptying the journal ----------------------------------------------------------

    def settle(self) -> None:
        """
        Empty the journal, once all that is in it is durable in its place. It takes locks.

        :raise OSError: that can't be done; or not for all: then the rest stays in it.
        """
        errors: list[OSError] = []
        self.journal.settle(self.make_durable, lambda names: errors.extend(self._place_all(names)))
        if errors:
            raise errors[0]

    def _place_all(self, names: Iterable[BlobName]) -> list[OSError]:
        """Make the files of those that wait; append those again to the journal that can't be."""
        waiting = [name for name in names if name in self.backlog]
        try:
            self.place(waiting)
        except OSError as error:
            with self._locks.all(waiting):
                left = {it: found for it in waiting if (found := self.backlog.get(it))}
                contents = [(name, content) for name, (content, _) in left.items()]
                with self.journal.kept(contents, [date for _, date in left.values()]):
                    return [error]
        return []

    def make_durable(self, names: Collection[BlobName]) -> None:
        """Make the files of names durable in their places; no locks need be held."""
        if disk.can_sync_file_system():
            with self._ways.all_synced():
                self._sync_all()
        else:
            self._make_each_durable(names)

    def _make_each_durable(self, names: Collection[BlobName]) -> None:
        for name in names:
            disk.sync_path(self._places.blob(name))
        self._ways.sync_up(self._places.folder(name) for name in names)

    # -- after a crash -----------------------------------------------------------------

    def recover(self) -> bool:
        """
        Put in order what the last process left; before anything else.

        :return: whether there was anything.
        """
        self.backlog.clear()
        self._usable.clear()
        return self.journal.recover(self._restore, self.make_durable, self._restore_later)

    def _restore(self, name: BlobName, content: bytes) -> None:
        try:
            with open(self._places.blob(name), "rb") as file:
                is_whole = file.read(len(content) + 1) == content
        except FileNotFoundError:
            is_whole = False
        if is_whole:
            # Flags that were set later would have freed it from the journal.
            disk.remove(self._places.flags(name))
        else:
            date = self.journal.dates[name] or None
            self._put_in_place(name, content, disk.Heirs(), os.replace, date)

    def _restore_later(self, name: BlobName, content: bytes, error: OSError) -> None:
        self._log.error(
            "A blob can't be put in its place, and stays in the journal: {reason}",
            reason=str(error),
        )
        self.backlog.add({name: Waiting(content, self.journal.dates[name] or time.time_ns())})
