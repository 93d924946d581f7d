"""The feed of a namespace, read from a catalogue part by part."""

from __future__ import annotations

from ...errors import CursorExpiredError
from ...model import RemoteChange
from ...protocol import TAG_SIZE, Cursor
from .catalogue.interface import PAGE, Change, History, ICatalogue
from .interface import ChangesPart, Parts

SECOND = 1_000_000_000

NO_TAG = bytes(TAG_SIZE)
"""Stands for the tag of what is too short to have one."""


async def read_changes(
    catalogue: ICatalogue, user: str, namespace: str, cursor: Cursor | None, most: int
) -> Parts:
    """List changes; see :class:`~.interface.IBlobsBackend`."""
    # Whatever is committed after this has a larger number, and is left for later.
    history = await catalogue.history(user, namespace, cursor.generation if cursor else "")
    after, began = _beginning(history, cursor)
    while True:
        number = min(most, PAGE)
        changes: list[Change] = []
        if after < history.number:
            changes = await catalogue.changes(user, namespace, after, number, history.number, began)
        after = changes[-1].number if len(changes) == number else history.number
        more = after < history.number
        told = [_tell(change) for change in changes]
        yield ChangesPart(told, Cursor(history.generation, after, began), more)
        most -= len(changes)
        if not more or not most:
            return


def _beginning(history: History, cursor: Cursor | None) -> tuple[int, int]:
    """Say after which number to begin, and after which one deletions count."""
    if cursor is None:
        return 0, history.number
    if history.reach is None or max(cursor.number, cursor.began) > history.reach:
        raise CursorExpiredError("the cursor is of another history")
    return cursor.number, cursor.began


def _tell(change: Change) -> RemoteChange:
    if change.size is None:
        return RemoteChange(change.blob_id)
    tag = change.tag if len(change.tag) == TAG_SIZE else NO_TAG
    date = max(0, change.date // SECOND)
    return RemoteChange(change.blob_id, tag, change.size, date, change.flags)
