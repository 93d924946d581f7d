"""A server in a process of its own, that can be killed."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

_CODE = """
import json, sys
from twisted.internet import reactor
from blobman.server.running.configuration import make_service

service = make_service(listen=["tcp:0:interface=127.0.0.1"], **json.loads(sys.argv[1]))
service.startService()
service.when_listening().addCallback(lambda ports: print(ports[0].getHost().port, flush=True))
reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
reactor.run()
"""


class ServerProcess(ProcessProtocol):
    """
    Starts with :meth:`start`.

    :ivar port: fires with the number of the port.
    :ivar ended: fires when the process has ended.
    """

    transport: Any

    def __init__(self) -> None:
        self.port: Deferred[int] = Deferred()
        self.ended: Deferred[None] = Deferred()
        self._output = b""

    def start(self, data: str | None, tokens: str, **options: Any) -> Deferred[int]:
        """
        Start it.

        :param data: the data folder; None if the catalogue and the payloads are elsewhere.
        :param options: more arguments of ``make_service``.
        """
        options["data"] = None if data is None else os.path.abspath(data)
        options["tokens"] = os.path.abspath(tokens)
        command = [sys.executable, "-c", _CODE, json.dumps(options)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        reactor.spawnProcess(self, sys.executable, command, environment)
        return self.port

    def outReceived(self, data: bytes) -> None:
        self._output += data
        if self._output.endswith(b"\n") and not self.port.called:
            self.port.callback(int(self._output))

    def processEnded(self, reason: Failure) -> None:
        if not self.port.called:
            self.port.errback(reason.value)
        self.ended.callback(None)

    def kill(self) -> Deferred[None]:
        """End it at once, without a word."""
        self._signal(signal.SIGKILL)
        return self.ended

    def stop(self) -> None:
        """Have it stand still."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Have it go on after that."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if not self.ended.called:
            self.transport.signalProcess(number)

    def peak_memory(self) -> int:
        """The most bytes of memory it has had."""
        with open(f"/proc/{self.transport.pid}/status") as file:
            (line,) = [line for line in file if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
