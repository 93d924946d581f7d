"""
The server's folder: every operation on it, as plain calls that block.

``filesystem.py`` runs them in threads. Several may run at once; what concerns one
blob is done by one at a time.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
import time
from collections.abc import Iterable

from ..errors import BlobAlreadyExistsError, BlobNotFoundError, InvalidFlagsError, StoreError
from ..model import Flags
from ..protocol import read_flags, write_flags
from . import disk, layout
from .storage import BlobName
from .ways import Ways

_LOCKS = 256


class BlobFolder:
    """
    Soledad's folder layout, with durable and atomic changes.

    :ivar root: the folder's path.
    :ivar staging: where files are until they are whole.
    """

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)
        self.own = os.path.join(self.root, layout.OWN_FOLDER)
        self.staging = os.path.join(self.own, "staging")
        self._locks = [threading.Lock() for _ in range(_LOCKS)]
        self._ways = Ways(self.root)
        self._lock_file = -1

    # -- opening and closing ---------------------------------------------------------

    def open(self) -> None:
        """
        Make the folders, take the place for this process, sweep leftovers.

        :raise StoreError: another process has it.
        """
        for changed in disk.make_folders(self.staging):
            disk.sync_folder(changed)
        self._lock_file = os.open(os.path.join(self.own, "lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            raise StoreError("another server has the data folder open") from error
        for leftover in os.scandir(self.staging):
            disk.remove(leftover.path)

    def close(self) -> None:
        """Leave the place to others."""
        descriptor, self._lock_file = self._lock_file, -1
        if descriptor >= 0:
            os.close(descriptor)

    # -- blobs -----------------------------------------------------------------------

    def path(self, name: BlobName) -> str:
        """Give the path of a blob's file."""
        return os.path.join(layout.folder_of(self.root, name), name.blob_id)

    def _sidecar(self, name: BlobName, suffix: str) -> str:
        return os.path.join(layout.folder_of(self.root, name), layout.sidecar(name.blob_id, suffix))

    def exists(self, name: BlobName) -> bool:
        """Whether a blob is there."""
        return os.path.lexists(self.path(name))

    def open_blob(self, name: BlobName) -> int:
        """
        Open a blob.

        :return: a descriptor for reading.
        :raise BlobNotFoundError: it is not there.
        """
        try:
            return os.open(self.path(name), os.O_RDONLY | os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise BlobNotFoundError(f"no {name}") from error

    def new_staging_path(self) -> str:
        """Think of a path in the staging folder that is not taken."""
        return os.path.join(self.staging, secrets.token_hex(16))

    def stamp(self, descriptor: int) -> None:
        """Date a file that is about to be published: now, more finely than the system does."""
        now = time.time_ns()
        os.utime(descriptor, ns=(now, now))

    def publish(self, staged: str, name: BlobName, flags: Iterable[Flags] = ()) -> None:
        """
        Move a file that is whole and durable to its place.

        :raise BlobAlreadyExistsError: the place is taken; the file stays where it was.
        """
        marks = list(flags)
        with self.locked(name), self._ways.made([layout.folder_of(self.root, name)]):
            if marks:
                self.check_absent(name)
                self._write_flags(name, marks)
            try:
                os.link(staged, self.path(name))
            except FileExistsError as error:
                raise _taken(name) from error
            disk.remove(staged)

    def check_absent(self, name: BlobName) -> None:
        """
        Look whether a name is free.

        :raise BlobAlreadyExistsError: it is taken.
        """
        if self.exists(name):
            raise _taken(name)

    def delete(self, name: BlobName) -> int:
        """
        Remove a blob and its flags, leaving a tombstone.

        The tombstone is durable first: after a crash the blob is there, or a tombstone is.

        :return: the size of what was removed, in bytes.
        :raise BlobNotFoundError: it is not there.
        """
        path = self.path(name)
        with self.locked(name):
            size = self._size(name)
            self._write_tombstone(name)
            disk.remove(path)
            disk.remove(self._sidecar(name, layout.FLAGS))
            disk.sync_folder(os.path.dirname(path))
        return size

    def _write_tombstone(self, name: BlobName) -> None:
        path = self._sidecar(name, layout.TOMBSTONE)
        is_hashed = os.path.basename(path).startswith(".")
        disk.replace_file(path, name.blob_id.encode("ascii") if is_hashed else b"", self.staging)

    # -- flags -----------------------------------------------------------------------

    def set_flags(self, name: BlobName, flags: Iterable[Flags]) -> None:
        """
        Replace a blob's flags.

        :raise BlobNotFoundError: it is not there.
        """
        with self.locked(name):
            self._size(name)
            self._write_flags(name, flags)

    def _write_flags(self, name: BlobName, flags: Iterable[Flags]) -> None:
        disk.replace_file(self._sidecar(name, layout.FLAGS), write_flags(flags), self.staging)

    def get_flags(self, name: BlobName) -> list[Flags]:
        """
        Read a blob's flags.

        :raise BlobNotFoundError: it is not there.
        """
        with self.locked(name):
            self._size(name)
            return self.read_flags_file(self._sidecar(name, layout.FLAGS))

    def read_flags_file(self, path: str) -> list[Flags]:
        """Read the flags in a file; none if it is absent or unreadable as such."""
        try:
            with open(path, "rb") as file:
                return read_flags(file.read())
        except (FileNotFoundError, InvalidFlagsError):
            return []

    # -- order and durability --------------------------------------------------------

    def locked(self, name: BlobName) -> threading.Lock:
        """Give the lock under which a blob's files change; some blobs share one."""
        return self._locks[hash(name) % _LOCKS]

    def _size(self, name: BlobName) -> int:
        try:
            return os.lstat(self.path(name)).st_size
        except (FileNotFoundError, NotADirectoryError) as error:
            raise BlobNotFoundError(f"no {name}") from error


def _taken(name: BlobName) -> BlobAlreadyExistsError:
    return BlobAlreadyExistsError(f"{name} exists")
