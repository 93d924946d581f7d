"""What this manager changes on the server, for those who have asked for a list meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..model import BlobKey, ChangesPage


class OwnChanges:
    """What this manager changed on the server while an answer of it was on its way here."""

    def __init__(self) -> None:
        self._uploaded: set[str] = set()
        self._deleted: set[str] = set()

    def applied_to(self, listed: set[str]) -> set[str]:
        """Give what the server would list now."""
        return (listed | self._uploaded) - self._deleted

    def outdates(self, page: ChangesPage) -> bool:
        """Whether the server would tell something else now of a blob."""
        return any(
            change.blob_id in (self._uploaded if change.is_deleted else self._deleted)
            for change in page.changes
        )

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._uploaded or self._deleted)

    def note_uploaded(self, blob_id: str) -> None:
        """Take note that the server has taken a blob just now."""
        self._uploaded.add(blob_id)
        self._deleted.discard(blob_id)

    def note_deleted(self, blob_id: str) -> None:
        """Take note that the server has a blob no more."""
        self._deleted.add(blob_id)
        self._uploaded.discard(blob_id)


class Changes:
    """Tells who watches a namespace what this manager changes on the server."""

    def __init__(self) -> None:
        """Nobody watches."""
        self._watchers: dict[str, list[OwnChanges]] = {}

    @contextmanager
    def watch(self, namespace: str) -> Iterator[OwnChanges]:
        """Collect what is changed inside the context."""
        changes = OwnChanges()
        watchers = self._watchers.setdefault(namespace, [])
        watchers.append(changes)
        try:
            yield changes
        finally:
            watchers.remove(changes)
            if not watchers:
                self._watchers.pop(namespace, None)

    def note_uploaded(self, key: BlobKey) -> None:
        """Take note that the server has taken a blob just now."""
        for changes in self._watchers.get(key.namespace, ()):
            changes.note_uploaded(key.blob_id)

    def note_deleted(self, key: BlobKey) -> None:
        """Take note that the server has a blob no more, by our doing."""
        for changes in self._watchers.get(key.namespace, ()):
            changes.note_deleted(key.blob_id)
