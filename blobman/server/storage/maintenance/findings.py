"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ..interface import BlobName


class Kind(Enum):
    """What is damaged."""

    CATALOGUE = "catalogue"
    """The catalogue's file: it is missing, can't be read, or does not agree with itself."""

    LOG = "log"
    """The log beside it."""

    HISTORY = "history"
    """Changes that were acknowledged are missing, or nobody knows whether some are."""

    BLOB = "blob"
    """What the catalogue says of a blob, or the content that it has of it."""

    PAYLOAD = "payload"
    """The file with a blob's content."""

    STRAY = "stray"
    """A file among the payloads that is none."""

    SUMS = "sums"
    """What is counted, or said twice, and does not agree."""

    MANIFEST = "manifest"
    """What a backup says of itself."""


@dataclass(frozen=True)
class Finding:
    """
    Something that is not as it has to be.

    :ivar path: the file, from the data folder.
    :ivar what: what is wrong with it.
    :ivar row: that of the blob; 0 if it is not about one.
    :ivar name: the blob's, if it is about one, and that is known.
    :ivar key: that of its payload, if it has one.
    :ivar may_pass: a server that runs may be at work on it: check again.
    """

    kind: Kind
    path: str
    what: str
    row: int = 0
    name: BlobName | None = None
    key: str | None = None
    may_pass: bool = False

    @property
    def text(self) -> str:
        """It in a line."""
        whose = f" ({self.name} of {self.name.user})" if self.name else ""
        passing = "; this can be passing: a server runs" if self.may_pass else ""
        return f"{self.path}{whose}: {self.what}{passing}"

    def fields(self) -> dict[str, object]:
        """It as JSON has it."""
        name = self.name
        return {
            "kind": self.kind.value,
            "path": self.path,
            "what": self.what,
            "user": name and name.user,
            "namespace": name and name.namespace,
            "id": name and name.blob_id,
            "may_pass": self.may_pass,
        }
