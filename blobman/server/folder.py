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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from ..errors import BlobAlreadyExistsError, BlobError, StoreError
from ..model import Flags
from ..protocol import write_flags
from . import disk, layout
from .accounts.quotas import Accounts, QuotaFile
from .backlog import Waiting
from .flagsfile import read_flags_file
from .index import Entry, Index
from .journal import NamedBlob
from .ledger import Ledger
from .locks import NameLocks
from .places import Places
from .small_blobs import SmallBlobs
from .storage import BlobName
from .ways import Ways


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
    :ivar small: the small blobs whose files may not be durable, or made, yet.
    :ivar is_in_order: whether the index agrees with the files, but for changes by others.
    """

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
        self.places = Places(self.root)
        self._numbers = itertools.count()
        self._locks = NameLocks()
        self._ways = Ways(self.root)
        self.small = SmallBlobs(
            os.path.join(self.own, "journal"),
            backlog,
            places=self.places,
            ways=self._ways,
            locks=self._locks,
            new_path=self.new_staging_path,
            note=lambda name, entry: self.ledger.note({name: 0}, {name: entry}),
            sync_all=lambda: disk.sync_file_system(self._root_descriptor),
        )
        self.ledger = Ledger(self.index, self.accounts, self.small.look, self.refresh)
        self._lock_file = -1
        self._root_descriptor = -1
        self.is_in_order = False

    # -- opening and closing ---------------------------------------------------------

    def open(self, index_anew: bool = False) -> bool:
        """
        Make the folders, take the place for this process, sweep leftovers.

        :param index_anew: begin with an index that is empty.
        :return: whether the last server closed it in order, so that the index is likely right.
        :raise StoreError: another process has it, or the file system can't keep names apart.
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
        try:
            disk.check_case(self.staging)
        except BaseException:
            self._unlock()
            raise
        self._root_descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        were_blobs_left = self.small.recover()
        self.is_in_order = self.index.open(index_anew) and not were_blobs_left
        if not self.is_in_order and os.path.dirname(self.root) not in made:
            # The last server may not have come to syncing a folder that is found.
            self._ways.are_trusted = False
            if disk.can_sync_file_system():
                self.small.make_durable([])
        return self.is_in_order

    def count_usage(self) -> None:
        """Open the users' accounts with what the index says, and with those that wait."""
        self.index.note_all([(it, self.small.look(it)) for it in self.small.backlog.names()])
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
                    self.small.keep(dated, entries)
            except BaseException:
                # A start must not find in the journal what nobody was told to be there.
                with suppress(OSError):
                    self.small.let_go(*accepted)
                raise
            finally:
                sizes = {name: len(content) for name, content in accepted.items()}
                self.ledger.note(sizes, entries)
        return outcomes

    def _accept(
        self, name: BlobName, content: bytes, accepted: dict[BlobName, bytes]
    ) -> BlobError | None:
        try:
            self.small.check_absent(name)
            if name in accepted:
                raise BlobAlreadyExistsError(f"{name} came twice")
            self.accounts.reserve(name.user, len(content), as_it_was=bool(accepted))
        except BlobError as error:
            return error
        accepted[name] = content
        return None

    @contextmanager
    def _having(self, name: BlobName) -> Iterator[None]:
        """Hold the lock of a name, whose file is in its place if there is a blob."""
        with self._locks.one(name):
            for error in self.small.place_each([name]):
                raise error
            yield

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
            self.small.let_go(name)
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
            self.small.let_go(name)
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
            self.small.let_go(name)
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
            if name in self.small.backlog:
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

    def settle(self) -> None:
        """
        Empty the journal; see :meth:`SmallBlobs.settle`.

        :raise OSError: that can't be done; or not for all: then the rest stays in it.
        """
        self.small.settle()
