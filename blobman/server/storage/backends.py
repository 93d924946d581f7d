"""The backends that there are: in a folder, and in memory."""

from __future__ import annotations

import os
from typing import Any

from ...clocks import steady_clock
from .backend import Backend
from .catalogue.sqlite import SQLiteCatalogue
from .payloads.folder import FolderPayloads
from .payloads.interface import LINGER
from .payloads.memory import MemoryPayloads
from .soledad.adoption import Adoption

OWN_FOLDER = ".blobman"
"""The folder in a data folder where all that the server makes is. No user has a name like it."""


def folder_backend(data: str, reactor: Any = None, linger: int = LINGER) -> Backend:
    """
    Make a backend that keeps its blobs in a folder.

    :param data: the folder; it is made if need be. One server at a time. One that has blobs, but
        no catalogue, is taken over; see ``soledad``.
    :param reactor: the global one if None.
    :param linger: seconds for which the payloads of deleted blobs are kept at least.
    """
    if reactor is None:
        from twisted.internet import reactor
    own = os.path.join(data, OWN_FOLDER)
    payloads = FolderPayloads(data, reactor)
    linger = max(linger, payloads.linger)
    catalogue = SQLiteCatalogue(own, reactor, adopt=Adoption(data), linger=linger)
    return Backend(catalogue, payloads, steady_clock(reactor))


def memory_backend() -> Backend:
    """Make a backend that keeps its blobs in memory. Each of its Deferreds has fired already."""
    return Backend(SQLiteCatalogue(), MemoryPayloads(), None)
