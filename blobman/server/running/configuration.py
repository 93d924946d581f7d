"""A server as it is configured: the only place that knows paths and endpoint descriptions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ...clocks import steady_clock
from ..accounts.file import FileAccounts
from ..accounts.interface import IAccounts
from ..accounts.tokens import TokenFile
from ..http.limits import Limits
from ..storage.backend import Backend
from ..storage.backends import folder_backend
from ..storage.catalogue.tokens import CatalogueAccounts
from .catalogues import FolderPlace, Place, place_of
from .endpoints import make_endpoint, make_private_endpoint
from .service import GRACE, Accounts, BlobsService, Listeners
from .sites import DEFAULT_LIMITS, reactor_or_global
from .stores import FolderStore, store_of

T = TypeVar("T")

DAY = 86_400
"""Seconds."""


def make_service(
    data: str | None,
    tokens: str | None,
    listen: Sequence[str],
    reactor: Any = None,
    grace: float = GRACE,
    limits: Limits = DEFAULT_LIMITS,
    incoming: Sequence[str] = (),
    incoming_tokens: str = "",
    metrics: Sequence[str] = (),
    catalogue: str | None = None,
    payloads: str | None = None,
    keep_payloads: float = 0.0,
) -> BlobsService:
    """
    Make a server.

    :param data: the data folder; None if the catalogue and the payloads are elsewhere.
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
    :param payloads: the URL of the store of payloads, if they are not in the data folder.
    :param keep_payloads: days for which the payloads of deleted blobs are kept at least.
    :raise ValueError: a path is empty; the catalogue or the payloads are no such URL, or there is
        another catalogue in the data folder; an endpoint description is wrong, or names a key that
        can't be read; or ``incoming`` is given and ``incoming_tokens`` is not.
    :raise ImportError: ``metrics`` is given, and ``blobman[server]`` is not installed.
    """
    for name, path in (("data", data), ("tokens", tokens)):
        if path == "":
            raise ValueError(f"{name} must be a path, and is empty")
    if incoming and not incoming_tokens:
        raise ValueError("a listener for incoming needs its own token file")
    reactor = reactor_or_global(reactor)
    backend = make_backend(reactor, data, catalogue, payloads, keep_payloads)
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


def make_backend(
    reactor: Any,
    data: str | None,
    catalogue: str | None = None,
    payloads: str | None = None,
    keep: float = 0.0,
) -> Backend:
    """
    Put a backend together; see :func:`make_service`.

    :param keep: days for which the payloads of deleted blobs are kept at least.
    :raise ValueError: something is missing, or can't be meant; the message begins with its name.
    """
    place = _named("catalogue", place_of, catalogue, data)
    store = _named("payloads", store_of, payloads, data)
    linger = round(keep * DAY)
    folders = (
        place.data if isinstance(place, FolderPlace) else "",
        store.data if isinstance(store, FolderStore) else "",
    )
    if folders[0] == folders[1] != "":
        return folder_backend(folders[0], reactor, linger)
    if data is not None:
        _check_home(FolderPlace(data), place, folders)
    try:
        kept = store.make(reactor)
    except ValueError as error:
        raise ValueError(f"payloads: {error}") from error
    made = place.make(reactor, max(linger, kept.linger))
    return Backend(made, kept, steady_clock(reactor))


def _named(option: str, find: Callable[[str], T], url: str | None, data: str | None) -> T:
    if url is None and data is None:
        raise ValueError(f"{option} is needed, or data for both")
    try:
        return find(str(data) if url is None else url)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from error


def _check_home(home: FolderPlace, place: Place, folders: tuple[str, str]) -> None:
    """
    See that a data folder is not given in vain, and has no other catalogue.

    :param folders: that of the catalogue, and that of the payloads, if they are in folders.
    """
    if home.data not in folders:
        raise ValueError(f"data {home.data} has no use: catalogue and payloads are elsewhere")
    if home.data != folders[0] and home.is_used():
        raise ValueError(f"data {home.data} has blobs that are not in the catalogue {place.shown}")
