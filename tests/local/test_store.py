"""The SQLite store keeps the contract."""

from __future__ import annotations

from blobman.local import BlobStore

from .contract import StoreContract, StoreTestCase
from .feed_contract import FeedContract


class _SQLite(StoreTestCase):
    def make_store(self) -> BlobStore:
        store = BlobStore(self.mktemp(), "user", b"key")
        self.addCleanup(store.close)
        return store


class SQLiteStoreTests(_SQLite, StoreContract):
    pass


class SQLiteFeedTests(_SQLite, FeedContract):
    pass


del StoreContract, StoreTestCase, FeedContract
