"""Payloads as they are recorded, and their files on the way out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import apsw

from .digests import digest_content
from .payload_writer import FileKey, PayloadWriter

__all__ = [
    "PAYLOAD_COLUMNS",
    "Payload",
    "add_payload",
    "forget_gone",
    "list_files",
    "list_going",
    "payload_of",
    "payload_row",
    "remove_payload",
]


@dataclass(frozen=True, slots=True, repr=False)
class Payload:
    """
    A payload, as it is recorded.

    :ivar size: the bytes of the cleartext, or of what was delivered sealed.
    :ivar preamble: the raw preamble.
    :ivar external: sealed by others.
    :ivar content: the bytes, if it is small.
    :ivar file: where the bytes are, if it is large.
    :ivar digests: what they are compared with when they are read, see :mod:`.digests`; None if
        they have not been in the database yet, or an earlier version stored them.
    """

    size: int
    preamble: bytes
    external: bool
    content: bytes | bytearray | None = None
    file: FileKey | None = None
    digests: bytes | None = field(default=None, compare=False)

    @classmethod
    def in_file(cls, size: int, preamble: bytes, external: bool, writer: PayloadWriter) -> Payload:
        """Describe a large payload by what wrote it."""
        return cls(size, preamble, external, file=writer.file, digests=writer.digests.encode())


PAYLOAD_COLUMNS = "size, preamble, external, file, file_key, content, digests"
"""The columns of :func:`payload_row`."""


def payload_row(payload: Payload) -> tuple[apsw.SQLiteValue, ...]:
    """Give the values of a payload that is to be recorded."""
    name, file_key = payload.file or (None, None)
    digests = payload.digests
    if payload.content is not None:
        digests = digest_content(payload.content)
    return (
        payload.size,
        payload.preamble,
        payload.external,
        name,
        file_key,
        payload.content,
        digests,
    )


def payload_of(
    size: int,
    preamble: bytes,
    external: int,
    name: str | None,
    file_key: bytes | None,
    content: bytes | None,
    digests: bytes | None,
) -> Payload:
    """Make a payload of the values of :data:`PAYLOAD_COLUMNS`."""
    file = None if name is None or file_key is None else FileKey(name, file_key)
    return Payload(size, preamble, bool(external), content, file, digests)


def add_payload(connection: apsw.Connection, payload: Payload) -> int:
    """Record a payload and give its number."""
    connection.execute(
        f"INSERT INTO payloads ({PAYLOAD_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
        payload_row(payload),
    )
    return connection.last_insert_rowid()


def remove_payload(connection: apsw.Connection, payload: int) -> str | None:
    """Remove a payload, and note that its file is going; give its name."""
    query = "DELETE FROM payloads WHERE id = ? RETURNING file"
    ((file,),) = _rows(connection, query, (payload,))
    if file is not None:
        connection.execute("INSERT INTO going VALUES (?)", (file,))
    return None if file is None else str(file)


def list_going(connection: apsw.Connection) -> list[str]:
    """List the files that may still have to be removed."""
    return [file for (file,) in _rows(connection, "SELECT file FROM going", ())]


def forget_gone(connection: apsw.Connection, files: Sequence[str]) -> None:
    """Note that files have been removed."""
    connection.executemany("DELETE FROM going WHERE file = ?", [(file,) for file in files])


def list_files(connection: apsw.Connection) -> set[str]:
    """List the files of all payloads."""
    query = "SELECT file FROM payloads WHERE file IS NOT NULL"
    return {file for (file,) in _rows(connection, query, ())}


def _rows(connection: apsw.Connection, query: str, values: tuple[Any, ...]) -> list[Any]:
    # To the end: a query that is left half read keeps its transaction open.
    return connection.execute(query, values).fetchall()
