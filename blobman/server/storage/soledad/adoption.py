"""
A folder that has blobs, but no catalogue, is taken over: :class:`Adoption`.

All of it is one transaction of the catalogue, and nothing else is changed: whoever is killed
meanwhile begins anew. The blobs stay in their files, which the catalogue refers to; those that are
only in the journal get into the catalogue. What has no use any more becomes garbage, which a server
removes when the transaction is durable.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress

import apsw

from .... import disk
from ....model import is_name
from ....protocol import MIN_SEALED_SIZE
from ..catalogue.connection import connect, store_errors, upgrade
from ..catalogue.filling import Filling, Kept
from . import layout
from .files import odd, read_part, reading
from .intake import JournalIntake, files_in
from .quotas import read_quotas
from .records import LastRecords
from .taking import Listener, LogListener, Report, Taking
from .tree import BlobFile, Tombstone, walk

_CACHE = 4 * 1024 * 1024


class Adoption:
    """
    Takes a folder over.

    :param root: the data folder.
    :param listener: is told what goes on; the log if None.
    :ivar report: what has been taken over.
    """

    def __init__(self, root: str, listener: Listener | None = None) -> None:
        self._root = os.path.abspath(root)
        self._listener = listener or LogListener(root)
        self.report = Report()

    def __call__(self, connection: apsw.Connection) -> None:
        """
        Fill a catalogue.

        :param connection: is in the transaction in which the tables were made.
        :raise StoreError: something can't be read, so that it is not known what it is.
        """
        # Of an attempt before this one, nothing is left.
        self.report = Report()
        taking = Taking(Filling(connection), self.report, self._listener)
        records = LastRecords(connection)
        journal = JournalIntake(self._root, records, taking)
        garbage = [*self._take_quotas(taking), *self._leftovers()]
        journal.take()
        for found in walk(self._root):
            if isinstance(found, BlobFile):
                self._take_file(found, records, taking)
            elif isinstance(found, Tombstone):
                taking.tombstone(found)
            else:
                taking.odd(found)
        for path in (*garbage, *journal.used_up):
            taking.filling.add_garbage(path)
        records.drop()
        taking.finish()
        if self.report.blobs > self.report.from_journal:
            self._make_durable()

    def _take_file(self, found: BlobFile, records: LastRecords, taking: Taking) -> None:
        name, path, size, tag, date, flags = found
        if records.has(name):
            # Perhaps it did not reach the disk.
            taking.filling.add_garbage(path)
        elif size < MIN_SEALED_SIZE:
            taking.odd(odd(path, f"it has {size} bytes, which are too few for a sealed blob"))
        else:
            if flags is None:
                where = layout.path_of(name, layout.FLAGS)
                taking.odd(odd(where, "it is damaged, so that the blob has no flags"))
            taking.blob(Kept(name, size, tag, date, flags or (), key=path))

    def _take_quotas(self, taking: Taking) -> list[str]:
        """Take the quotas over; give the files that have no use any more."""
        path = os.path.join(self._root, layout.QUOTAS)
        with reading(path):
            try:
                with disk.opened(path) as descriptor:
                    end = os.fstat(descriptor).st_size
                    quotas = read_quotas(read_part(descriptor, 0, end))
            except FileNotFoundError:
                return []
        if quotas.default is not None:
            taking.quota(None, quotas.default)
        for user, size in quotas.users.items():
            taking.quota(user, size)
        if quotas.is_damaged:
            why = "it is damaged: quotas that can't be read are 0 until they are set again"
            taking.odd(odd(layout.QUOTAS, why))
            return []
        return [layout.QUOTAS]

    def _leftovers(self) -> Iterator[str]:
        """Name the files that no server needs any more."""
        yield from files_in(self._root, layout.STAGING)
        for path in layout.USELESS:
            if os.path.lexists(os.path.join(self._root, path)):
                yield path

    def _make_durable(self) -> None:
        """See to it that the files are on the disk: who wrote them may not have."""
        with reading(self._root), os.scandir(self._root) as entries:
            others = [it.path for it in entries if it.is_symlink() and it.is_dir()]
            for path in (self._root, *others):
                disk.sync_file_system(path)


class _Enough(Exception):
    """Nothing is to be kept of it."""


def survey(root: str, listener: Listener | None = None) -> Report:
    """
    Do what an :class:`Adoption` does with a catalogue that nobody sees, in a temporary folder, and
    take it back. A server of before may be running: what it does meanwhile is counted or not.

    :return: what would be taken over.
    :raise StoreError: something can't be read, or has gone since it was found; or the temporary
        folder has no room.
    """
    adoption = Adoption(root, listener)

    def look(connection: apsw.Connection) -> None:
        adoption(connection)
        raise _Enough

    with tempfile.TemporaryDirectory(prefix="blobman-") as folder:
        connection = connect(os.path.join(folder, "catalogue.sqlite"), _CACHE)
        try:
            with suppress(_Enough), store_errors():
                upgrade(connection, look)
        finally:
            connection.close()
    return adoption.report


def is_older(root: str) -> bool:
    """
    Tell whether there is something in a folder that an :class:`Adoption` would take over.

    :raise StoreError: it can't be read.
    """
    with reading(root), os.scandir(root) as entries:
        if any(is_name(it.name) and it.is_dir() for it in entries):
            return True
    return bool(files_in(root, layout.JOURNAL)) or os.path.exists(os.path.join(root, layout.QUOTAS))
