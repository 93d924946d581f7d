"""What must be in a database after whatever happened to it: :class:`PostgresTruth`."""

from __future__ import annotations

from typing import Any

from ...postgres import Cluster
from ..truth import Truth


class PostgresTruth(Truth):
    """Each namespace has numbers of its own, without a gap."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self._cluster = cluster

    def _last_number(self, user: str, namespace: str) -> int:
        return self._last_numbers.get((user, namespace), 0)

    def _numbers_given(self, last_numbers: dict[tuple[str, str], int]) -> int:
        return sum(last_numbers.values())

    def ask(self, what: str) -> set[Any]:
        """Give the values of a column."""
        return {it for (it,) in self._cluster.run(f"SELECT {what}")}

    def named(self) -> set[str]:
        """Give the keys of all payloads of blobs."""
        return self.ask("key FROM blobman.blobs WHERE key IS NOT NULL")

    def _check_files(self, root: str) -> None:
        assert not self.ask("key FROM blobman.uploads"), "an upload is left"
        assert self.ask("sum(reserved) FROM blobman.accounts") <= {0, None}
