"""A server that keeps names instead of blobs, and tells what has changed as the real one does."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

from blobman.errors import CursorExpiredError
from blobman.model import FIRST_CURSOR, ChangesPage, Flags, RemoteChange

from .feed_contract import gone, tag, there


@dataclass
class ModelServer:
    """
    Has one namespace.

    :ivar blobs: the name of each blob that is there, by its id.
    :ivar tombstones: ids that were deleted, also if they have been used again.
    """

    blobs: dict[str, str] = field(default_factory=dict)
    tombstones: set[str] = field(default_factory=set)
    _flags: dict[str, tuple[Flags, ...]] = field(default_factory=dict)
    # The number of the last change of each id.
    _order: dict[str, int] = field(default_factory=dict)
    _number: int = 0
    # How far each generation that the catalogue knows has come; the last one goes on.
    _generations: dict[int, int] = field(default_factory=lambda: {0: 0})

    def put(self, blob_id: str, name: str) -> bool:
        """Store a blob, unless there is one."""
        if blob_id in self.blobs:
            return False
        self.blobs[blob_id] = name
        self._flags[blob_id] = ()
        self._changed(blob_id)
        return True

    def delete(self, blob_id: str) -> None:
        """Delete a blob, if there is one."""
        if self.blobs.pop(blob_id, None) is not None:
            self.tombstones.add(blob_id)
            self._changed(blob_id)

    def set_flags(self, blob_id: str, flags: tuple[Flags, ...]) -> None:
        """Set the flags of a blob, if there is one."""
        if blob_id in self.blobs:
            self._flags[blob_id] = flags
            self._changed(blob_id)

    def _changed(self, blob_id: str) -> None:
        self._number += 1
        self._order[blob_id] = self._number

    def changes(self, cursor: str, limit: int) -> ChangesPage:
        """
        Tell what has changed.

        :raise CursorExpiredError: the cursor is of another history.
        """
        behind, begun = 0, self._number
        if cursor != FIRST_CURSOR:
            generation, behind, begun = (int(it) for it in cursor.split("."))
            if behind > self._reached(generation):
                raise CursorExpiredError(f"the cursor {cursor} is of another history")
        order = sorted(self._order.items(), key=lambda item: item[1])
        news = [
            (blob_id, number)
            for blob_id, number in order
            if number > behind and (blob_id in self.blobs or number > begun)
        ]
        page, more = news[:limit], len(news) > limit
        reached = page[-1][1] if more else self._number
        current = max(self._generations)
        return ChangesPage(
            [self._change(blob_id) for blob_id, _ in page], f"{current}.{reached}.{begun}", more
        )

    def _reached(self, generation: int) -> int:
        if generation == max(self._generations):
            return self._number
        return self._generations.get(generation, -1)

    def _change(self, blob_id: str) -> RemoteChange:
        name = self.blobs.get(blob_id)
        return gone(blob_id) if name is None else there(blob_id, name, *self._flags[blob_id])

    def has(self, blob_id: str, sealed: bytes | None) -> bool:
        """Whether it has this very blob."""
        return blob_id in self.blobs and tag(self.blobs[blob_id]) == sealed

    def back_up(self) -> ModelServer:
        """Give a copy."""
        return copy.deepcopy(self)

    def restored(self, starts: int) -> ModelServer:
        """
        Give a server that was started with what a backup has.

        :param starts: how many servers have been started; a generation is never drawn again.
        """
        server = copy.deepcopy(self)
        server._generations[max(server._generations)] = server._number
        server._generations[starts] = server._number
        return server
