"""The port of a test: used again and again, by nobody else."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from .ports import own_port


class OwnPortTests(SynchronousTestCase):
    if sys.platform != "linux":
        skip = "elsewhere, a port that nobody listens on can't be kept"

    def test_servers_one_after_another(self) -> None:
        for host in ("127.0.0.1", "::1"):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            port = own_port(self, host)
            for _ in range(3):
                with self.assertRaises(ConnectionRefusedError):
                    socket.create_connection((host, port))
                with socket.create_server((host, port), family=family) as server:
                    client = socket.create_connection((host, port))
                    connection, _ = server.accept()
                    connection.close()
                    client.close()

    def test_nobody_else(self) -> None:
        """The system gives another port to who asks for any, to listen or to connect."""
        first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
        port = own_port(self)
        for _ in range(2 * (last - first)):
            with socket.socket() as other:
                other.bind(("127.0.0.1", 0))
                self.assertNotEqual(other.getsockname()[1], port)
