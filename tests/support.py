"""A real server on loopback, and managers that use it."""

from __future__ import annotations

import functools
import hashlib
import io
import os
from typing import Any

from twisted.internet import reactor
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from blobman import BlobDoc, BlobManager
from blobman.server.accounts.tokens import TokenFile
from blobman.server.running.configuration import make_service
from blobman.server.running.service import BlobsService
from blobman.server.storage.interface import BlobName
from blobman.transfers.engine import Engine

from .certificates import Authority
from .ports import own_port
from .proxy import Proxy
from .server import tampering

SECRET = "s" * 96
KEY = "the key of the local store"
USER = "alice"
MB = 1_000_000


@functools.cache
def authority(name: str = "blobman tests") -> Authority:
    """Keys take a moment to make: one authority for all tests."""
    return Authority(name)


def content(size: int, seed: str = "") -> bytes:
    """Bytes that are the same each time, and that no other seed gives."""
    return hashlib.shake_128(seed.encode()).digest(size)


def engine_of(manager: BlobManager) -> Engine:
    """For what can't be brought about from outside: that all permits are out, for example."""
    engine: Engine = vars(manager)["_BlobManager__engine"]
    return engine


def doc(data: bytes, blob_id: str | None = None) -> BlobDoc:
    """A document of some bytes."""
    return BlobDoc(io.BytesIO(data), blob_id)


class ReactorWithClock:
    """
    The real reactor, but for the time, which a test moves on. It knows who waits for it.

    What is to happen as soon as possible need not wait for that.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.seconds = self.clock.seconds

    def callLater(self, delay: float, *call: Any, **named: Any) -> IDelayedCall:
        every: Any = reactor
        later: IDelayedCall = (self.clock if delay else every).callLater(delay, *call, **named)
        return later

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


class ServerTestCase(TestCase):
    """Each test has a server of its own.

    :cvar tls: over TLS.
    :cvar streams: the managers use streams.
    :cvar is_old: to the managers, the server is one that knows of no changes and namespaces.
    """

    tls = False
    streams = False
    is_old = False

    async def setUp(self) -> None:  # type: ignore[override]
        self.folder = os.path.abspath(self.mktemp())
        os.makedirs(self.folder)
        self.data = os.path.join(self.folder, "server")
        self.tokens = os.path.join(self.folder, "tokens")
        self.token = TokenFile(self.tokens).add(USER)
        self.ca_file = authority().write(os.path.join(self.folder, "ca.pem"))
        self.service: BlobsService | None = None
        self.port = own_port(self)
        await self.start_server()
        self.manager_port = await self.old_port() if self.is_old else self.port

    async def old_port(self) -> int:
        """Find the port where the server is an old one."""
        proxy = Proxy(self.port)
        proxy.is_old = True
        await proxy.start()
        self.addCleanup(proxy.stop)
        return proxy.port

    async def start_server(self) -> None:
        """Start the server, on the port that it had."""
        self.service = make_service(self.data, self.tokens, [self.endpoint()], grace=0.0)
        self.service.startService()
        self.addCleanup(self.stop_server)
        await self.service.when_listening()

    def endpoint(self) -> str:
        """What the server listens on."""
        if not self.tls:
            return f"tcp:{self.port}:interface=127.0.0.1"
        pem = os.path.join(self.folder, "server.pem")
        if not os.path.exists(pem):
            authority().issue(pem)
        return f"ssl:{self.port}:interface=127.0.0.1:privateKey={pem}:certKey={pem}"

    async def stop_server(self) -> None:
        """Stop the server, if it runs."""
        service, self.service = self.service, None
        if service is not None:
            await service.stopService()

    @property
    def url(self) -> str:
        """The server's base URL, for managers."""
        return self.url_at(self.manager_port)

    def url_at(self, port: int, place: str = "blobs") -> str:
        """The base URL if the server were at another port."""
        return f"http{'s' if self.tls else ''}://127.0.0.1:{port}/{place}/"

    def manager(self, name: str = "laptop", **options: Any) -> BlobManager:
        """Make a manager whose store is in a folder of this name. It is closed at the end."""
        arguments: dict[str, Any] = {
            "local_path": os.path.join(self.folder, name),
            "remote": self.url,
            "key": KEY,
            "secret": SECRET,
            "user": USER,
            "token": self.token,
            "cert_file": self.ca_file if self.tls else None,
            "remote_stream": self.url_at(self.manager_port, "stream") if self.streams else None,
            "reactor": reactor,
        }
        manager = BlobManager(**{**arguments, **options})
        self.addCleanup(manager.close)
        return manager

    def on_server(self, blob_id: str, namespace: str = "default") -> bytes | None:
        """What the server has under an id; None if that is nothing."""
        return tampering.read(self.data, BlobName(USER, namespace, blob_id))

    def replace_on_server(self, blob_id: str, data: bytes, namespace: str = "default") -> None:
        """Have the server hold something else under an id that it has."""
        tampering.replace(self.data, BlobName(USER, namespace, blob_id), data)

    def change_on_server(self, blob_id: str, offset: int, namespace: str = "default") -> None:
        """Have the server change one byte of a blob."""
        changed = bytearray(self.on_server(blob_id, namespace) or b"")
        changed[offset] ^= 1
        self.replace_on_server(blob_id, bytes(changed), namespace)

    def remove_from_server(self, blob_id: str, namespace: str = "default") -> None:
        """Have the server lose a blob."""
        tampering.remove(self.data, BlobName(USER, namespace, blob_id))

    async def put_on_server(self, blob_id: str, data: bytes, namespace: str = "default") -> None:
        """Have the server hold a blob that no client has sent."""
        assert self.service is not None
        name = BlobName(USER, namespace, blob_id)
        upload = await self.service.backend.receive(name, len(data))
        await upload.write([data])
        await upload.publish()
