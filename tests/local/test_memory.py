"""The store in memory keeps the contract, too."""

from __future__ import annotations

from blobman.testing import MemoryStore

from .contract import StoreContract


class MemoryStoreTests(StoreContract):
    def make_store(self) -> MemoryStore:
        return MemoryStore()


del StoreContract
