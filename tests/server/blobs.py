"""What tests of the server send: things that can be sealed blobs."""

from __future__ import annotations

from blobman.server.storage.backend import Backend
from blobman.server.storage.backends import memory_backend
from blobman.testing.contracts.support import Consumer, name, query, sealed

__all__ = ["Consumer", "name", "open_memory_backend", "query", "sealed"]


def open_memory_backend() -> Backend:
    """Make a backend in memory, and open it."""
    backend = memory_backend()
    failures: list[object] = []
    backend.open().addErrback(failures.append)
    assert not failures, failures
    return backend
