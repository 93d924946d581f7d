"""Ports of this machine that belong to a test, also while nobody listens on them."""

from __future__ import annotations

import socket
import sys

from twisted.trial.unittest import SynchronousTestCase


def hold_port(host: str = "127.0.0.1") -> socket.socket:
    """
    Take a port that nobody else is given until what this returns has been closed.

    Servers may listen on it, one after another. In between, connections to it are refused: a port
    that is only given back may be somebody's, of another test run, the next moment.
    """
    holder = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    # Who asks for this port may bind it, too, if this is set; who asks for any gets another one.
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((host, 0))
    return holder


def own_port(case: SynchronousTestCase, host: str = "127.0.0.1") -> int:
    """Give a port that is held until the test has ended."""
    holder = hold_port(host)
    port: int = holder.getsockname()[1]
    if sys.platform == "linux":
        case.addCleanup(holder.close)
    else:
        # Others don't let two bind a port.
        holder.close()
    return port
