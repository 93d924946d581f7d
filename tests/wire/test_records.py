"""Records of TLS on their way to a protocol."""

from __future__ import annotations

import os
import random
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, serverFromString, wrapClientTLS
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate, optionsForClientTLS
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from blobman.wire.pool import SOCKET_PIECE
from blobman.wire.records import RecordsGatherer

from ..certificates import Authority

RECORD = 16 * 1024
CONTENT = random.Random(1).randbytes(20 * RECORD + 7)


class Sender(Protocol):
    def connectionMade(self) -> None:
        self.transport.write(CONTENT)  # type: ignore[union-attr]
        self.transport.loseConnection()  # type: ignore[union-attr]


class Taker(Protocol):
    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.ended: Deferred[list[bytes]] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.pieces.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(self.pieces)


class GatheringTests(TestCase):
    async def test_many_records_become_few_pieces(self) -> None:
        pieces = await self.receive(RecordsGatherer)
        self.assertEqual(b"".join(pieces), CONTENT)
        self.assertGreater(max(map(len, pieces)), RECORD)
        self.assertLess(len(pieces), len(CONTENT) // RECORD)
        # Without it, each comes by itself.
        alone = await self.receive(lambda _: None)
        self.assertEqual(b"".join(alone), CONTENT)
        self.assertEqual(max(map(len, alone)), RECORD)

    async def receive(self, stand_between: Any) -> list[bytes]:
        folder = self.mktemp()
        os.mkdir(folder)
        authority = Authority("test")
        ca_file, key = os.path.join(folder, "ca.pem"), os.path.join(folder, "key.pem")
        authority.write(ca_file)
        authority.issue(key)
        factory = Factory.forProtocol(Sender)
        listening = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={key}"
        port = await serverFromString(reactor, listening).listen(factory)
        self.addCleanup(port.stopListening)
        with open(ca_file, "rb") as file:
            options = optionsForClientTLS("127.0.0.1", Certificate.loadPEM(file.read()))
        endpoint = HostnameEndpoint(reactor, "127.0.0.1", port.getHost().port)
        taker = Taker()
        await wrapClientTLS(options, endpoint).connect(Factory.forProtocol(lambda: taker))
        tls: Any = taker.transport
        tls.transport.bufferSize = SOCKET_PIECE
        stand_between(tls)
        return await taker.ended
