"""Looking up hosts in threads that nobody has to wait for."""

from __future__ import annotations

import threading
from typing import Any

from twisted.internet._resolver import GAIResolver
from twisted.python.threadpool import ThreadPool


class _Daemon(threading.Thread):
    """Ends with the process, whatever it is doing."""

    def __init__(self, *args: Any, **others: Any) -> None:
        super().__init__(*args, **{**others, "daemon": True})


class _Daemons(ThreadPool):
    threadFactory = _Daemon


def look_hosts_up_apart(reactor: Any) -> None:
    """
    Give a reactor a resolver whose threads keep neither it nor the process from ending.

    ``getaddrinfo`` blocks for many seconds if the servers of names are out of reach, and nothing
    can interrupt it; those who stop a reactor wait for the threads of its own pool.
    """
    pool = _Daemons(minthreads=0, maxthreads=10, name="blobman looks up hosts")
    pool.start()
    reactor.installNameResolver(GAIResolver(reactor, lambda: pool))
