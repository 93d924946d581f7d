"""The store in memory keeps the contract, too."""

from __future__ import annotations

from blobman.testing import MemoryStore

from .contract import StoreContract
from .feed_contract import FeedContract


class MemoryStoreTests(StoreContract):
    def make_store(self) -> MemoryStore:
        return MemoryStore()


class MemoryFeedTests(FeedContract):
    def make_store(self) -> MemoryStore:
        return MemoryStore()


del StoreContract, FeedContract
