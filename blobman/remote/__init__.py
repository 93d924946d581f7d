"""The HTTP client of a blobs server."""

from __future__ import annotations

from .client import IDLE_TIMEOUT, BlobsClient

__all__ = ["IDLE_TIMEOUT", "BlobsClient"]
