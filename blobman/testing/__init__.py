"""
Stand-ins for an application's own tests: no disk, no threads, no network.

- :class:`MemoryStore`: a store that passes the same tests as the one on the disk
"""

from __future__ import annotations

from .store import MemoryStore

__all__ = ["MemoryStore"]
