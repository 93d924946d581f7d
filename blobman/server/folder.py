"""
The server's folder: every operation on it, as plain calls that block.

``filesystem.py`` runs them in threads. Several may run at once; what concerns one
blob is done by one at a time.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from twisted.logger import Logger

from ..errors import BlobAlreadyExistsError, BlobError, StoreError
from ..model import Flags
from ..protocol import write_flags
from . import disk, layout
from .backlog import OVERHEAD, PORTION, Backlog, Waiting
from .flagsfile import read_flags_file
from .index import Entry, Index
from .journal import Journal, NamedBlob
from .ledger import Ledger
from .locks import NameLocks
from .places import Places
from .quotas import Accounts, QuotaFile
from .storage import BlobName
from .ways import Ways

SPARE = 256 * 1024 * 1024
"""Bytes that have to be free where files are to be made later, so that it is no vain promise."""

SPARE_FILES = 100_000
"""Likewise: how many more files and folders there can be."""


@dataclass
class Staged:
    """
    A file in the staging folder, whole, and open for writing.

    :ivar reserved: the bytes that are reserved for it on its user's account.
    """

    name: BlobName
    path: str
    descriptor: int
    reserved: int = 0
    flags: Sequence[Flags] = ()


class BlobFolder:
    """
    Soledad's folder layout, with durable and atomic changes.

    :ivar root: the folder's path.
    :ivar staging: where files are until they are whole.
    :ivar index: what is in the folder.
    :ivar accounts: how much each user keeps.
    :ivar places: where the files of a name are.
    :ivar ledger: takes changes down in both.
    :ivar journal: the small blobs whose files may not be durable yet.
    :ivar backlog: those of them whose files are still to be made.
    :ivar is_in_order: whether the index agrees with the files, but for changes by others.
    """

    _log = Logger()

    def __init__(self, root: str, backlog: int = 0) -> None:
        """
        Nothing is opened yet.

        :param backlog: bytes of small blobs whose files need not be there at once.
        """
        self.root = os.path.abspath(root)
        self.own = os.path.join(self.root, layout.OWN_FOLDER)
        self.staging = os.path.join(self.own, "staging")
        self.index = Index(os.path.join(self.own, "index.sqlite"))
        self.accounts = Accounts(QuotaFile(os.path.join(self.own, "quotas.json")))
        self.journal = Journal(os.path.join(self.own, "journal"))
        self.backlog = Backlog(backlog)
        self.places = Places(self.root)
        self.ledger = Ledger(self.index, self.accounts, self.look, self.refresh)
        # The folders of namespaces in which a file has just been made: there, more can be.
        self._usable: set[str] = set()
        self._numbers = itertools.count()
        self._locks = NameLocks()
        self._ways = Ways(self.root)
        self._lock_file = -1
        self._root_descriptor = -1
        self.is_in_order = False

    # -- opening and closing ---------------------------------------------------------

    def open(self, index_anew: bool = False) -> bool:
        """
        Make the folders, take the place for this process, sweep leftovers.

        :param index_anew: begin with an index that is empty.
        :return: whether the last server closed it in order, so that the index is likely right.
        :raise StoreError: another process has it.
        """
        made = disk.make_folders(self.staging)
        for changed in made:
            disk.sync_folder(changed)
        self._lock_file = disk.open_lock(os.path.join(self.own, "lock"))
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._unlock()
            raise StoreError("another server has the data folder open") from error
        for leftover in os.scandir(self.staging):
            disk.remove(leftover.path)
        self._root_descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        self.backlog.clear()
        self._usable.clear()
        were_blobs_left = self.journal.recover(
            self._restore, self._make_durable, self._restore_later
        )
        self.is_in_order = self.index.open(index_anew) and not were_blobs_left
        if not self.is_in_order and os.path.dirname(self.root) not in made:
            # The last server may not have come to syncing a folder that is found.
            self._ways.are_trusted = False
            if disk.can_sync_file_system():
                self._make_durable([])
        return self.is_in_order

    def count_usage(self) -> None:
        """Open the users' accounts with what the index says, and with those that wait."""
        self.index.note_all([(it, self.look(it)) for it in self.backlog.names()])
        self.ledger.begin()

    def close(self) -> None:
        """Leave the place to others."""
        is_whole = False
        try:
            if self._lock_file >= 0:
                self.settle()
                self.ledger.catch_up()
                is_whole = self.is_in_order and self._ways.are_durable
        finally:
            self.is_in_order = False
            self.index.close(is_whole)
            self._unlock()

    def _unlock(self) -> None:
        for descriptor in self._root_descriptor, self._lock_file:
            if descriptor >= 0:
                os.close(descriptor)
        self._root_descriptor = self._lock_file = -1

    # -- blobs -----------------------------------------------------------------------

    def new_staging_path(self) -> str:
        """Think of a path in the staging folder that is not taken."""
        return f"{self.staging}{os.sep}{next(self._numbers)}"

    def store(self, blobs: Sequence[NamedBlob]) -> list[BlobError | None]:
        """
        Store small blobs: durably in the journal, and in their places, or in the backlog.

        :return: for each, None if it is there now; or ``BlobAlreadyExistsError`` or
            ``QuotaExceededError``, and all is as it was.
        """
        accepted: dict[BlobName, bytes] = {}
        entries: dict[BlobName, Entry] = {}
        with self._locks.all(name for name, _ in blobs):
            try:
                outcomes = [self._accept(name, content, accepted) for name, content in blobs]
                if accepted:
                    now = time.time_ns()
                    dated = {
                        name: Waiting(content, now + number)
                        for number, (name, content) in enumerate(accepted.items())
                    }
                    self._keep(dated, entries)
            except BaseException:
                # A start must not find in the journal what nobody was told to be there.
                with suppress(OSError):
                    self._let_go(*accepted)
                raise
            finally:
                sizes = {name: len(content) for name, content in accepted.items()}
                self.ledger.note(sizes, entries)
        return outcomes

    def _keep(self, blobs: Mapping[BlobName, Waiting], entries: dict[BlobName, Entry]) -> None:
        """
        Make blobs durable, and the files of those that can't wait.

        :param entries: takes what their files are like, or will be.
        """
        can_wait = self._which_can_wait(blobs)
        heirs = disk.Heirs()
        contents = [(name, content) for name, (content, _) in blobs.items()]
        with self.journal.kept(contents, [date for _, date in blobs.values()]):
            for name, (content, date) in blobs.items():
                if name not in can_wait:
                    entries[name] = self._put_in_place(name, content, heirs, date=date)
                    self._usable.add(self.places.namespace(name))
            self.backlog.add(can_wait)
        entries |= {name: waiting.entry for name, waiting in can_wait.items()}

    def _accept(
        self, name: BlobName, content: bytes, accepted: dict[BlobName, bytes]
    ) -> BlobError | None:
        try:
            self.check_absent(name)
            if name in accepted:
                raise BlobAlreadyExistsError(f"{name} came twice")
            self.accounts.reserve(name.user, len(content), as_it_was=bool(accepted))
        except BlobError as error:
            return error
        accepted[name] = content
        return None

    def _which_can_wait(self, blobs: Mapping[BlobName, Waiting]) -> dict[BlobName, Waiting]:
        """Choose those whose files can be made later, with nothing in their way."""
        can_wait: dict[BlobName, Waiting] = {}
        size = 0
        usable = self._usable.intersection(map(self.places.namespace, blobs))
        usable = {it for it in usable if disk.has_room(it, SPARE, SPARE_FILES)}
        for name, waiting in blobs.items():
            if (
                self.places.namespace(name) in usable
                and self.backlog.has_room(waiting.content, size)
                and not os.path.lexists(self.places.folder(name))
            ):
                can_wait[name] = waiting
                size += len(waiting.content) + OVERHEAD
        return can_wait

    def check_absent(self, name: BlobName) -> None:
        """
        Look whether a name is free.

        :raise BlobAlreadyExistsError: it is taken.
        """
        if name in self.backlog:
            raise BlobAlreadyExistsError(f"{name} exists")
        self.places.check_absent(name)

    def place(self, names: Collection[BlobName]) -> None:
        """
        Make the files of those that wait for theirs.

        :raise OSError: one can't be made; it goes on waiting, and the others are made.
        """
        errors = []
        waiting = [name for name in names if name in self.backlog]
        for start in range(0, len(waiting), PORTION):
            some = waiting[start : start + PORTION]
            with self._locks.all(some):
                errors += self._place_each(some)
        if errors:
            raise errors[0]

    def _place_each(self, names: Iterable[BlobName]) -> list[OSError]:
        """Do so, while their locks are held; give what went wrong."""
        errors: list[OSError] = []
        heirs = disk.Heirs()
        for name in names:
            waiting = self.backlog.get(name)
            if waiting is not None:
                try:
                    self._place(name, waiting, heirs)
                except OSError as error:
                    self._usable.discard(self.places.namespace(name))
                    errors.append(error)
        return errors

    def _place(self, name: BlobName, waiting: Waiting, heirs: disk.Heirs) -> None:
        content, date = waiting
        if disk.status_of(self.places.blob(name)) is not None:
            # Somebody else has put it there, and files count.
            self._let_go(name)
            entry = self.places.look(name)
        else:
            entry = self._put_in_place(name, content, heirs, date=date)
        self.backlog.remove([name])
        if entry != waiting.entry:
            self.ledger.note({name: 0}, {name: entry})

    @contextmanager
    def _having(self, name: BlobName) -> Iterator[None]:
        """Hold the lock of a name, whose file is in its place if there is a blob."""
        with self._locks.one(name):
            for error in self._place_each([name]):
                raise error
            yield

    def look(self, name: BlobName) -> Entry:
        """Tell what the files of a name are like, or will be."""
        waiting = self.backlog.get(name)
        return waiting.entry if waiting else self.places.look(name)

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
        path, place = self.new_staging_path(), self.places.blob(name)
        is_folder_new = self._ways.make(os.path.dirname(place), heirs)
        status = disk.write_new(path, content, heirs, date)
        deleted = None
        try:
            if is_folder_new:
                # In it is nothing that could be replaced, no flags and no tombstone.
                os.replace(path, place)
            else:
                self._remove_flags(name)
                deleted = self.places.deleted_at(name)
                move(path, place)
        except BaseException:
            disk.remove(path)
            raise
        return Entry(status.st_size, status.st_mtime_ns, 0, deleted)

    def publish(self, staged: Staged) -> None:
        """
        Make a file durable and move it to its place, durably; nothing is reserved for it any more.

        :raise BlobAlreadyExistsError: the name is taken, and all is as it was.
        :raise OSError: it is not there.
        """
        is_in_place = False
        try:
            with self._ways.made([self.places.folder(staged.name)]):
                # After the folders: a journal that is flushed for the file has them in it, too.
                disk.date(staged.descriptor)
                os.fsync(staged.descriptor)
                self._move_to_its_place(staged)
                is_in_place = True
        except BaseException:
            if is_in_place:
                self._take_back(staged)
            raise

    def _take_back(self, staged: Staged) -> None:
        """Remove a blob that could not be made durable: nobody may be told that it exists."""
        with self._having(staged.name):
            path = self.places.blob(staged.name)
            status = disk.status_of(path)
            # Unless it has been deleted, and there is another one.
            if status and os.path.samestat(status, os.fstat(staged.descriptor)):
                disk.remove(path)
                self._remove_flags(staged.name)
                self._note(staged.name)

    def _move_to_its_place(self, staged: Staged) -> None:
        name = staged.name
        with self._having(name):
            self.places.check_absent(name)
            self._let_go(name)
            if self._remove_flags(name):
                disk.sync_folder(self.places.folder(name))
            if staged.flags:
                self._write_flags(name, staged.flags)
            try:
                os.link(staged.path, self.places.blob(name))
            except FileExistsError as error:
                raise BlobAlreadyExistsError(f"{name} exists") from error
            disk.remove(staged.path)
            self._note(name, staged.reserved)
        staged.reserved = 0

    def delete(self, name: BlobName) -> None:
        """
        Remove a blob and its flags, leaving a tombstone.

        The tombstone is durable first: after a crash the blob is there, or a tombstone is.

        :raise BlobNotFoundError: it is not there.
        """
        path = self.places.blob(name)
        with self._having(name):
            self.places.check_present(name)
            self._let_go(name)
            self._write_tombstone(name)
            disk.remove(path)
            self._remove_flags(name)
            disk.sync_folder(os.path.dirname(path))
            self._note(name)

    def _write_tombstone(self, name: BlobName) -> None:
        path = self.places.tombstone(name)
        is_hashed = os.path.basename(path).startswith(".")
        disk.replace_file(path, name.blob_id.encode("ascii") if is_hashed else b"", self.staging)

    # -- flags -----------------------------------------------------------------------

    def set_flags(self, name: BlobName, flags: Iterable[Flags]) -> None:
        """
        Replace a blob's flags.

        :raise BlobNotFoundError: it is not there.
        """
        with self._having(name):
            self.places.check_present(name)
            self._let_go(name)
            self._write_flags(name, flags)
            self._note(name)

    def _write_flags(self, name: BlobName, flags: Iterable[Flags]) -> None:
        disk.replace_file(self.places.flags(name), write_flags(flags), self.staging)

    def _remove_flags(self, name: BlobName) -> bool:
        """Remove the flags of a blob that is not there; a crash may have left them."""
        return disk.remove(self.places.flags(name))

    def get_flags(self, name: BlobName) -> list[Flags]:
        """
        Read a blob's flags.

        :raise BlobNotFoundError: it is not there.
        """
        with self._locks.one(name):
            if name in self.backlog:
                return []
            self.places.check_present(name)
            return read_flags_file(self.places.flags(name))

    # -- what is there -----------------------------------------------------------------

    def heed(self, name: BlobName) -> None:
        """Look at a name that is asked for; if the index says otherwise, put it right."""
        if not self.ledger.is_right(name):
            self.refresh(name)

    def heed_all(self, blobs: Mapping[BlobName, os.stat_result | None]) -> None:
        """
        Likewise for many names.

        :param blobs: what their blobs are like; None if there is none. There are not more than
            :data:`rows.MOST`.
        """
        try:
            entries = {it: self.places.look_beside(it, status) for it, status in blobs.items()}
            are_right = self.ledger.are_right(entries)
        except OSError:
            are_right = False
        if not are_right:
            for name in blobs:
                self.heed(name)

    def refresh(self, name: BlobName) -> None:
        """Make the index say what the files of a name say."""
        with self._locks.one(name):
            self._note(name)

    def _note(self, name: BlobName, reserved: int = 0) -> None:
        self.ledger.note({name: reserved})

    # -- the journal -------------------------------------------------------------------

    def settle(self) -> None:
        """
        Empty the journal, once all that is in it is durable in its place.

        :raise OSError: that can't be done; or not for all: then the rest stays in it.
        """
        errors: list[OSError] = []
        self.journal.settle(self._make_durable, lambda names: errors.extend(self._place_all(names)))
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

    def _restore(self, name: BlobName, content: bytes) -> None:
        try:
            with open(self.places.blob(name), "rb") as file:
                is_whole = file.read(len(content) + 1) == content
        except FileNotFoundError:
            is_whole = False
        if is_whole:
            # Flags that were set later would have freed it from the journal.
            self._remove_flags(name)
        else:
            date = self.journal.dates[name] or None
            self._put_in_place(name, content, disk.Heirs(), os.replace, date)

    def _restore_later(self, name: BlobName, content: bytes, error: OSError) -> None:
        self._log.error(
            "A blob can't be put in its place, and stays in the journal: {reason}",
            reason=str(error),
        )
        self.backlog.add({name: Waiting(content, self.journal.dates[name] or time.time_ns())})

    def _let_go(self, *names: BlobName) -> None:
        """Free names from the journal, before they change in a way that is not in there."""
        held = [name for name in names if self.journal.holds(name)]
        if held:
            self._make_each_durable(held)
            self.journal.let_go(held)

    def _make_durable(self, names: Collection[BlobName]) -> None:
        if disk.can_sync_file_system():
            with self._ways.all_synced():
                disk.sync_file_system(self._root_descriptor)
        else:
            self._make_each_durable(names)

    def _make_each_durable(self, names: Collection[BlobName]) -> None:
        for name in names:
            disk.sync_path(self.places.blob(name))
        self._ways.sync_up(self.places.folder(name) for name in names)
