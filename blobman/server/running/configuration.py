"""A server as it is configured: the only place that knows paths and endpoint descriptions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...clocks import steady_clock
from ..accounts.file import FileAccounts
from ..accounts.interface import IAccounts
from ..accounts.tokens import TokenFile
from ..http.limits import Limits
from ..storage.backend import Backend
from ..storage.backends import folder_backend
from ..storage.catalogue.tokens import CatalogueAccounts
from ..storage.payloads.folder import FolderPayloads
from .catalogues import FolderPlace, place_of
from .endpoints import make_endpoint, make_private_endpoint
from .service import GRACE, Accounts, BlobsService, Listeners
from .sites import DEFAULT_LIMITS, reactor_or_global


def make_service(
    data: str,
    tokens: str | None,
    listen: Sequence[str],
    reactor: Any = None,
    grace: float = GRACE,
    limits: Limits = DEFAULT_LIMITS,
    incoming: Sequence[str] = (),
    incoming_tokens: str = "",
    metrics: Sequence[str] = (),
    catalogue: str | None = None,
) -> BlobsService:
    """
    Make a server of a data folder.

    :param data: the data folder.
    :param tokens: the token file; if None, tokens are in the catalogue.
    :param listen: endpoint descriptions, such as ``tcp:8080:interface=127.0.0.1``.
    :param reactor: the global one if None.
    :param grace: seconds that requests under way get to end when the server stops.
    :param limits: what clients can't exceed.
    :param incoming: endpoint descriptions for ``/incoming/``. One that names no interface is on
        loopback.
    :param incoming_tokens: the token file of the services that deliver there.
    :param metrics: endpoint descriptions for ``/metrics``; needs ``blobman[server]``. One that
        names no interface is on loopback.
    :param catalogue: the URL of the catalogue, if that is not in the data folder.
    :raise ValueError: a path is empty; the catalogue is no such URL, or there is another one in the
        data folder; an endpoint description is wrong, or names a key that can't
        be read; or ``incoming`` is given and ``incoming_tokens`` is not.
    :raise ImportError: ``metrics`` is given, and ``blobman[server]`` is not installed.
    """
    for name, path in (("data", data), ("tokens", tokens)):
        if path == "":
            raise ValueError(f"{name} must be a path, and is empty")
    if incoming and not incoming_tokens:
        raise ValueError("a listener for incoming needs its own token file")
    reactor = reactor_or_global(reactor)
    backend = _make_backend(data, catalogue, reactor)
    users: IAccounts
    if tokens is None:
        users = CatalogueAccounts(backend.catalogue)
    else:
        users = FileAccounts(TokenFile(tokens), reactor)
    services = FileAccounts(TokenFile(incoming_tokens), reactor) if incoming else None
    listeners = Listeners(
        [make_endpoint(reactor, "listen", it) for it in listen],
        [make_private_endpoint(reactor, "incoming", it) for it in incoming],
        [make_private_endpoint(reactor, "metrics", it) for it in metrics],
    )
    return BlobsService(
        backend,
        Accounts(users, services),
        listeners,
        limits,
        reactor,
        grace,
    )


def _make_backend(data: str, catalogue: str | None, reactor: Any) -> Backend:
    home = FolderPlace(data)
    try:
        place = home if catalogue is None else place_of(catalogue)
    except ValueError as error:
        raise ValueError(f"catalogue: {error}") from error
    if isinstance(place, FolderPlace) and place.data == home.data:
        return folder_backend(data, reactor)
    if home.is_used():
        raise ValueError(f"data {data} has blobs that are not in the catalogue {place.shown}")
    payloads = FolderPayloads(data, reactor, is_apart=True)
    return Backend(place.make(reactor), payloads, steady_clock(reactor))
