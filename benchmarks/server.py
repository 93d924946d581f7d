"""blobman's server, in a process that is told to start one."""

from __future__ import annotations

import os
import time
from typing import Any

from twisted.internet import reactor

from blobman.cli.garbage import collect_rarely
from blobman.server.accounts.tokens import TokenFile
from blobman.server.running.configuration import make_service
from blobman.server.storage.backends import folder_backend
from blobman.server.storage.interface import BlobName

from .calls import answer_calls
from .comparison import BATCH, names
from .figures import Cost
from .meter import Meter, memory
from .workloads import USER

TAG = b"the tag, 16 long"
"""The last bytes of what a folder is filled with."""

PAYLOAD = bytes(47) + TAG
"""What a folder is filled with. No client that has not stored it before can open it."""


class Server:
    """A server, and what its work costs."""

    async def fill(self, folder: str, user: str, number: int) -> None:
        """Have a server's folder hold so many small blobs of a user."""
        backend = folder_backend(os.path.join(folder, "server"))
        await backend.open()
        ids = names(number)
        for start in range(0, number, BATCH):
            some = [BlobName(user, "default", it) for it in ids[start : start + BATCH]]
            await backend.store([(name, PAYLOAD) for name in some])
        await backend.close()

    def add_users(self, folder: str, users: list[str]) -> dict[str, str]:
        """Make users; give their tokens."""
        tokens = TokenFile(os.path.join(folder, "tokens"))
        return {user: tokens.add(user) for user in users}

    async def start(self, folder: str, pem: str | None) -> dict[str, Any]:
        """
        Start it.

        :param pem: its key and certificate, for TLS.
        :return: what a manager has to be told: its address, and a token.
        """
        tokens = os.path.join(folder, "tokens")
        token = TokenFile(tokens).add(USER)
        service = make_service(os.path.join(folder, "server"), tokens, [endpoint(pem)])
        service.startService()
        reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
        (port,) = await service.when_listening()
        collect_rarely()
        self._meter = Meter(reactor)
        url = f"{'https' if pem else 'http'}://127.0.0.1:{port.getHost().port}"  # type: ignore[attr-defined]
        return {"remote": f"{url}/blobs/", "remote_stream": f"{url}/stream/", "token": token}

    def begin(self) -> None:
        """Begin to measure."""
        self._meter.begin()

    def end(self) -> Cost:
        """Tell what was measured."""
        return self._meter.end()

    def memory(self) -> int:
        """Tell how many bytes of memory it has now."""
        return memory("VmRSS")

    def cpu(self) -> float:
        """Tell how many seconds of CPU have been used."""
        return time.process_time()


def endpoint(pem: str | None) -> str:
    """Describe where to listen: on any port of this machine, with TLS if there is a key."""
    if pem is None:
        return "tcp:0:interface=127.0.0.1"
    return f"ssl:0:interface=127.0.0.1:privateKey={pem}:certKey={pem}"


if __name__ == "__main__":
    answer_calls(Server())
