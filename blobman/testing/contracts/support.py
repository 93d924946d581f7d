"""What the contracts have in common."""

from __future__ import annotations

import hashlib
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer
from zope.interface import implementer

from ...protocol import ListQuery
from ...server.storage.interface import BlobName


def name(blob_id: str, user: str = "alice", namespace: str = "default") -> BlobName:
    """Name a blob."""
    return BlobName(user, namespace, blob_id)


def query(**fields: Any) -> ListQuery:
    """Make a query of the default namespace, unless another one is given."""
    return ListQuery(**{"namespace": "default", **fields})


def sealed(text: str = "", size: int = 800) -> bytes:
    """Make bytes that are as good as a sealed blob to a server; another text makes others."""
    seed = hashlib.sha256(text.encode()).hexdigest().encode()
    return (seed * (size // len(seed) + 1))[:size]


@implementer(IConsumer)
class Consumer:
    """
    Takes what is written.

    :param most: after how many writes it pauses the producer; never if None.
    :ivar pieces: what was written.
    :ivar producer: who is registered.
    """

    def __init__(self, most: int | None = None) -> None:
        self.pieces: list[bytes] = []
        self.producer: IPushProducer | None = None
        self._most = most
        self.paused: Deferred[None] = Deferred()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Take a producer, if there is none."""
        assert self.producer is None, "a producer is registered already"
        assert streaming, "it has to be a push producer"
        self.producer = producer

    def unregisterProducer(self) -> None:
        """Forget the producer."""
        assert self.producer is not None, "no producer is registered"
        self.producer = None

    def write(self, data: bytes) -> None:
        """Take some bytes."""
        assert self.producer is not None, "no producer is registered"
        self.pieces.append(data)
        if self._most is not None and len(self.pieces) == self._most:
            self.producer.pauseProducing()
            self.paused.callback(None)

    @property
    def content(self) -> bytes:
        """All that was written."""
        return b"".join(self.pieces)
