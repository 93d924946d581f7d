"""The HTTP client of a blobs server."""

from __future__ import annotations

from .addresses import server_urls
from .client import BlobsClient
from .exchange import IDLE_TIMEOUT, Exchanges
from .stream import BlobsStream
from .throttle import Throttle

__all__ = ["IDLE_TIMEOUT", "BlobsClient", "BlobsStream", "Exchanges", "Throttle", "server_urls"]
