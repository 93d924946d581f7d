"""
Stand-ins for an application's own tests.

- :class:`MemoryServer`: a server on loopback that keeps its blobs in memory
- :class:`MemoryStore`: a store that keeps its blobs in memory: no disk, no threads

Both pass the same tests as the real ones.
"""

from __future__ import annotations

from .server import MemoryServer
from .store import MemoryStore

__all__ = ["MemoryServer", "MemoryStore"]
