"""
The index and the accounts, in step with the files.

An index that can't be written fails no request whose files are durable. What it lacks is
remembered, with the space that stays reserved for it, and taken down before the index is asked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from twisted.logger import Logger

from ..errors import StoreError
from .accounts.quotas import Accounts
from .index import Entry, Index
from .storage import BlobName


class Ledger:
    """
    Takes down what becomes of files.

    :param look: looks at the files of a name.
    :param refresh: takes down what they are like, holding the name's lock.
    """

    _log = Logger()

    def __init__(
        self,
        index: Index,
        accounts: Accounts,
        look: Callable[[BlobName], Entry],
        refresh: Callable[[BlobName], None],
    ) -> None:
        self._index = index
        self._accounts = accounts
        self._look = look
        self._refresh = refresh
        self._lock = threading.Lock()
        self._missing: dict[BlobName, int] = {}

    def begin(self) -> None:
        """Open the users' accounts with what the index says, which has just been compared."""
        with self._lock:
            self._missing.clear()
        self._accounts.reset({user: size for user, (_, size) in self._index.usage().items()})

    def missing(self) -> list[BlobName]:
        """Name what is not in the index as it is in the files."""
        with self._lock:
            return list(self._missing)

    def note(
        self, reserved: Mapping[BlobName, int], known: Mapping[BlobName, Entry] | None = None
    ) -> None:
        """
        Take down what the files of names are like. Their locks are held.

        :param reserved: for each, how many bytes are reserved on its user's account.
        :param known: what they are like, as far as that is known; the others are looked at.
        """
        known = known or {}
        with self._lock:
            ended = {it: size + self._missing.pop(it, 0) for it, size in reserved.items()}
        try:
            grown = self._index.note_all([(it, known.get(it) or self._look(it)) for it in ended])
        except (StoreError, OSError) as error:
            self._remember(ended, error)
            return
        for (name, size), more in zip(ended.items(), grown, strict=True):
            self._accounts.settle(name.user, size, more)

    def catch_up(self) -> None:
        """
        Take down what could not be taken down before.

        :raise StoreError: it still can't.
        """
        for name in self.missing():
            self._refresh(name)
        if self.missing():
            raise StoreError("the index can't be written")

    def _remember(self, names: Mapping[BlobName, int], error: Exception) -> None:
        with self._lock:
            if not self._missing:
                self._log.error("The index can't be written: {reason}", reason=str(error))
            for name, size in names.items():
                self._missing[name] = self._missing.get(name, 0) + size

    def is_right(self, name: BlobName) -> bool:
        """Tell whether the index has a name as it is; also if it can't be told now."""
        try:
            return self._index.look_up(name) == self._look(name)
        except (StoreError, OSError):
            return True

    def are_right(self, entries: Mapping[BlobName, Entry]) -> bool:
        """Tell whether the index has names as they are; also if it can't be told now."""
        try:
            return self._index.agrees(entries)
        except StoreError:
            return True
