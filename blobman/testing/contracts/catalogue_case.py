"""What the contracts of a catalogue have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...model import Flags
from ...protocol import TAG_SIZE
from ...server.storage.catalogue.interface import Entry, ICatalogue, Publication
from ...server.storage.interface import BlobName
from .support import query, sealed

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as Base
else:
    Base = object


def small(blob: BlobName, content: bytes | None = None, *flags: Flags) -> Publication:
    """Make a publication whose content the catalogue keeps."""
    content = sealed(blob.blob_id) if content is None else content
    return Publication(blob, len(content), content[-TAG_SIZE:], content, flags=flags)


def large(blob: BlobName, key: str, size: int = 1_000_000) -> Publication:
    """Make a publication of a payload."""
    return Publication(blob, size, b"t" * TAG_SIZE, key=key, digests=b"d" * 64)


class CatalogueCase(Base):
    """
    Mixed into a TestCase that sets ``catalogue``, opened.

    :cvar outlives_its_process: whether what it keeps is there when it is opened again.
    """

    catalogue: ICatalogue
    outlives_its_process = True

    async def reopen(self) -> None:
        """Close it, and open it again."""
        await self.catalogue.close()
        await self.catalogue.open()

    async def put(self, *blobs: Publication) -> None:
        """Publish blobs, all of which are accepted."""
        self.assertEqual(await self.catalogue.publish(blobs), [None] * len(blobs))

    async def find(self, blob: BlobName) -> Entry | None:
        """Look up one blob."""
        (entry,) = await self.catalogue.find([blob], 1)
        return entry

    async def ids(self, most: int = 1000, **fields: object) -> list[str]:
        """List ids of alice, page by page."""
        ids: list[str] = []
        page = await self.catalogue.page("alice", query(**fields), None, most)
        ids += page.ids
        while page.after is not None:
            page = await self.catalogue.page("alice", query(**fields), page.after, most)
            self.assertLessEqual(len(page.ids), most)
            ids += page.ids
        return ids

    async def changed(self, after: int = 0) -> list[tuple[str, bool]]:
        """List what was changed, with whether it is there."""
        found = await self.catalogue.changes("alice", "default", after, 1000)
        numbers = [change.number for change in found]
        self.assertEqual(numbers, sorted(set(numbers)))
        return [(change.blob_id, change.size is not None) for change in found]
