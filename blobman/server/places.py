"""Where the files of a name are, and what they are like. What looks at them blocks."""

from __future__ import annotations

import errno
import os

from ..errors import BlobAlreadyExistsError, BlobNotFoundError
from . import disk, layout
from .flagsfile import look_at_flags
from .index import NOTHING, Entry
from .storage import BlobName


class Places:
    """
    The places of the files of names.

    :param root: the server's folder.
    """

    def __init__(self, root: str) -> None:
        self._root = root

    def namespace(self, name: BlobName) -> str:
        """Give the path of the folder of a name's namespace."""
        return os.path.join(self._root, name.user, name.namespace)

    def folder(self, name: BlobName) -> str:
        """Give the path of the folder that a blob is in."""
        return layout.folder_of(self._root, name)

    def blob(self, name: BlobName) -> str:
        """Give the path of a blob."""
        return layout.folder_of(self._root, name) + os.sep + name.blob_id

    def flags(self, name: BlobName) -> str:
        """Give the path of a blob's flags."""
        return self._beside(name, layout.FLAGS)

    def tombstone(self, name: BlobName) -> str:
        """Give the path of a tombstone."""
        return self._beside(name, layout.TOMBSTONE)

    def _beside(self, name: BlobName, suffix: str) -> str:
        folder = layout.folder_of(self._root, name)
        return folder + os.sep + layout.sidecar(name.blob_id, suffix)

    # -- looking ---------------------------------------------------------------------

    def look(self, name: BlobName) -> Entry:
        """Look at the files of a name."""
        return self.look_beside(name, disk.status_of(self.blob(name)))

    def look_beside(self, name: BlobName, blob: os.stat_result | None) -> Entry:
        """
        Look at the other files of a name.

        :param blob: what the blob is like; None if there is none.
        """
        deleted = self.deleted_at(name)
        if blob is None:
            return NOTHING._replace(deleted=deleted)
        flags, sidecar = look_at_flags(self.flags(name))
        return Entry(blob.st_size, blob.st_mtime_ns, flags, deleted, sidecar)

    def deleted_at(self, name: BlobName) -> int | None:
        """Give a tombstone's modification time; None if there is none."""
        tombstone = disk.status_of(self.tombstone(name))
        return tombstone.st_mtime_ns if tombstone else None

    def check_absent(self, name: BlobName) -> None:
        """
        Look whether a name is free.

        :raise BlobAlreadyExistsError: it is taken.
        """
        if os.path.lexists(self.blob(name)):
            raise BlobAlreadyExistsError(f"{name} exists")

    def check_present(self, name: BlobName) -> None:
        """
        Look whether a blob is there.

        :raise BlobNotFoundError: it is not.
        """
        if disk.status_of(self.blob(name)) is None:
            raise BlobNotFoundError(f"no {name}")

    def open_blob(self, name: BlobName) -> int:
        """
        Open a blob.

        :return: a descriptor for reading.
        :raise BlobNotFoundError: it is not there.
        """
        try:
            return os.open(self.blob(name), os.O_RDONLY | os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise BlobNotFoundError(f"no {name}") from error
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise BlobNotFoundError(f"{name} is a link") from error
            raise
