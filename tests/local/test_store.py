"""The SQLite store keeps the contract."""

from __future__ import annotations

from blobman.local import BlobStore

from .contract import StoreContract


class SQLiteStoreTests(StoreContract):
    def make_store(self) -> BlobStore:
        store = BlobStore(self.mktemp(), "user", b"key")
        self.addCleanup(store.close)
        return store


del StoreContract
