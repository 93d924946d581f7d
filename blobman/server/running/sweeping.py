"""A catalogue and the store of its payloads, held against each other."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ...errors import StoreError
from ..storage.maintenance.findings import Finding
from ..storage.maintenance.sweep import Sweep
from .configuration import make_backend


async def sweep(
    reactor: Any,
    data: str | None,
    catalogue: str | None,
    payloads: str | None,
    deep: bool,
    remove: bool,
    tell: Callable[[Finding], object],
) -> int:
    """
    Compare what is in a store of payloads with what its catalogue knows. Servers may run, unless
    the catalogue is in a folder.

    :param data: the data folder; see :func:`.configuration.make_service` for it and the others.
    :param deep: read all payloads; else only their sizes are compared.
    :param remove: remove what the catalogue does not know, unless it is young.
    :param tell: is told what is found.
    :return: how many have been removed. Raises ``StoreError`` if the payloads are beside the
        catalogue, or something can't be read or removed; and ``ValueError`` as ``make_service``.
    """
    backend = make_backend(reactor, data, catalogue, payloads)
    if not backend.payloads.is_apart:
        raise StoreError("the payloads are beside the catalogue: use blobman server check")
    await backend.open()
    try:
        read = backend.read if deep else None
        comparison = Sweep(backend.catalogue, backend.payloads, time.time, read)
        async for finding in comparison.findings():
            tell(finding)
        return await comparison.remove() if remove else 0
    finally:
        await backend.close()
