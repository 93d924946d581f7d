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

options = json.loads(sys.argv[3])
service = make_service(sys.argv[1], sys.argv[2], ["tcp:0:interface=127.0.0.1"], **options)
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

    def start(self, data: str, tokens: str, **options: Any) -> Deferred[int]:
        """
        Start it.

        :param options: more arguments of ``make_service``.
        """
        paths = map(os.path.abspath, (data, tokens))
        command = [sys.executable, "-c", _CODE, *paths, json.dumps(options)]
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
        if not self.ended.called:
            self.transport.signalProcess(signal.SIGKILL)
        return self.ended

    def peak_memory(self) -> int:
        """The most bytes of memory it has had."""
        with open(f"/proc/{self.transport.pid}/status") as file:
            (line,) = [line for line in file if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
