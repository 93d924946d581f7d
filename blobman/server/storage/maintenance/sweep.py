"""
Holds a catalogue against a listing of the store of its payloads: :class:`Sweep`.

Nothing that serves blobs needs it: keys are noted before anything is written, and until it is
removed. But a catalogue that was put back from a backup knows nothing of what came later.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress

import apsw
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from zope.interface import implementer

from ....errors import BlobNotFoundError
from ....sqlite import ask, transaction
from ..catalogue.interface import LEASE, ICatalogue, PayloadRow
from ..interface import BlobName, DamagedError, IStoredBlob
from ..payloads.interface import IPayloads, Listed
from .findings import Finding, Kind

YOUNG = LEASE
"""Seconds for which what nobody knows is left alone."""

MANY = 500
"""How many are removed together."""

_TABLES = """
    CREATE TABLE listed (
        key TEXT PRIMARY KEY, size INTEGER NOT NULL, modified REAL NOT NULL,
        is_known INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID
"""

_UNKNOWN = """
    SELECT key, size, modified FROM listed
    WHERE NOT is_known AND key > ? AND modified <= ? ORDER BY key LIMIT 1000
"""


@implementer(IConsumer)
class _Nowhere:
    """Where bytes go that only have to be looked at."""

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Take a producer."""

    def unregisterProducer(self) -> None:
        """Forget it."""

    def write(self, data: bytes) -> None:
        """Drop some bytes."""


class Sweep:
    """
    A comparison. The listing is kept in a temporary file: memory does not grow with it.

    The store is listed before the catalogue is read: whatever was there has a row by then, unless
    nobody knows it. Servers may run.

    :param catalogue: open.
    :param payloads: its store, open.
    :param now: gives seconds since the epoch.
    :param read: opens a blob, so that all payloads are read; None if they are not.
    """

    def __init__(
        self,
        catalogue: ICatalogue,
        payloads: IPayloads,
        now: Callable[[], float],
        read: Callable[[BlobName], Deferred[IStoredBlob]] | None = None,
    ) -> None:
        self._read = read
        self._catalogue = catalogue
        self._payloads = payloads
        self._began = now()
        self._scratch = apsw.Connection("")
        self._scratch.execute(_TABLES)

    async def findings(self) -> AsyncIterator[Finding]:
        """
        Compare.

        :return: payloads that are missing, or have another size; then what nobody knows, unless it
            is young. Reading one raises ``StoreError``.
        """
        async for page in self._payloads.listed():
            self._note(page)
        await self._claim()
        async for row in self._rows():
            fault = self._fault_of(row)
            if fault is not None and not await self._is_damaged(row):
                continue
            fault = fault or await self._fault_in(row)
            if fault is not None:
                yield Finding(Kind.PAYLOAD, row.key, fault, 0, row.name, row.key)
        # What was published meanwhile had been claimed before; what was deleted is claimed now.
        await self._claim()
        for stray in self._strays():
            what = f"the catalogue knows nothing of it ({stray.size} bytes)"
            yield Finding(Kind.STRAY, stray.key, what, key=stray.key)

    def _note(self, page: Sequence[Listed]) -> None:
        with transaction(self._scratch):
            self._scratch.executemany(
                "INSERT INTO listed (key, size, modified) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                page,
            )

    def _know(self, keys: Iterable[str]) -> None:
        with transaction(self._scratch):
            self._scratch.executemany(
                "UPDATE listed SET is_known = 1 WHERE key = ?", [(key,) for key in keys]
            )

    async def _claim(self) -> None:
        keys = [""]
        while keys := await self._catalogue.claimed_keys(keys[-1]):
            self._know(keys)

    async def _rows(self) -> AsyncIterator[PayloadRow]:
        rows: list[PayloadRow] = []
        while rows := await self._catalogue.payload_rows(rows[-1].place if rows else None):
            self._know(row.key for row in rows)
            for row in rows:
                yield row

    def _fault_of(self, row: PayloadRow) -> str | None:
        found = ask(self._scratch, "SELECT size FROM listed WHERE key = ?", (row.key,))
        if not found:
            return "it is missing"
        size = found[0][0]
        return None if size == row.size else f"it has {size} bytes instead of {row.size}"

    async def _fault_in(self, row: PayloadRow) -> str | None:
        """Read a payload, if that is wanted: it is held against its digests as it comes."""
        if self._read is None:
            return None
        try:
            stored = await self._read(row.name)
            try:
                await stored.write_to(_Nowhere())
            finally:
                stored.close()
        except DamagedError as error:
            return str(error)
        except BlobNotFoundError:
            # It has been deleted meanwhile.
            return None
        return None

    async def _is_damaged(self, row: PayloadRow) -> bool:
        """Look again: it may have come after the listing, or have been deleted meanwhile."""
        with suppress(DamagedError):
            payload = await self._payloads.get(row.key)
            payload.close()
            if payload.size == row.size:
                return False
        (entry,) = await self._catalogue.find([row.name], 1)
        return entry is not None and entry.key == row.key

    def _strays(self) -> Iterable[Listed]:
        after = ""
        while rows := ask(self._scratch, _UNKNOWN, (after, self._began - YOUNG)):
            yield from (Listed(*row) for row in rows)
            after = rows[-1][0]

    async def remove(self) -> int:
        """
        Remove what nobody knows; after :meth:`findings`.

        :return: how many. Raises ``StoreError`` if one can't be removed.
        """
        removed = 0
        keys: list[str] = []
        for stray in self._strays():
            keys.append(stray.key)
            if len(keys) == MANY:
                removed += await self._remove(keys)
                keys = []
        return removed + await self._remove(keys)

    async def _remove(self, keys: Sequence[str]) -> int:
        left = await self._payloads.remove(keys) if keys else {}
        for error in left.values():
            raise error
        return len(keys)
