"""The sites of a server: which resources are where, for whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...clocks import steady_clock
from ..accounts.admission import Admission
from ..accounts.interface import IAccounts
from ..http.blobs import BlobsResource
from ..http.connections import Connections
from ..http.health import HealthResource, Root
from ..http.incoming import IncomingResource
from ..http.limits import Limits
from ..http.site import BlobsSite
from ..http.stream import StreamResource
from ..storage.interface import IBlobsBackend

DEFAULT_LIMITS = Limits()


def make_site(
    backend: IBlobsBackend,
    accounts: IAccounts,
    reactor: Any = None,
    limits: Limits = DEFAULT_LIMITS,
    connections: Connections | None = None,
) -> BlobsSite:
    """
    Make the site of users: ``/blobs/``, ``/stream/`` and ``/health``.

    :param backend: has been opened.
    :param accounts: says who is let in.
    :param reactor: the global one if None.
    :param limits: what clients can't exceed.
    :param connections: counts those of all sites of a server; of this one alone if None.
    """
    reactor = reactor_or_global(reactor)
    admission = Admission(limits.requests, limits.lists)
    root = Root(
        blobs=BlobsResource(accounts, admission, backend),
        stream=StreamResource(accounts, admission, backend),
        health=HealthResource(backend, steady_clock(reactor)),
    )
    return BlobsSite(root, limits, reactor, connections)


def make_incoming_site(
    backend: IBlobsBackend,
    accounts: IAccounts,
    reactor: Any = None,
    limits: Limits = DEFAULT_LIMITS,
    connections: Connections | None = None,
) -> BlobsSite:
    """
    Make the site of trusted local services: ``/incoming/`` and ``/health``.

    :param accounts: those of services, not of users.
    """
    reactor = reactor_or_global(reactor)
    admission = Admission(limits.requests, limits.lists)
    root = Root(
        incoming=IncomingResource(accounts, admission, backend),
        health=HealthResource(backend, steady_clock(reactor)),
    )
    return BlobsSite(root, limits, reactor, connections)


def make_metrics_site(
    sites: Sequence[BlobsSite],
    backend: IBlobsBackend,
    reactor: Any = None,
    connections: Connections | None = None,
) -> BlobsSite:
    """
    Make the site of ``/metrics``, about the requests to other sites, and of this server to where
    payloads are and to the catalogue's database. It asks for no token.

    :raise ImportError: the extra ``blobman[server]`` is not installed.
    """
    from .metrics import Metrics, MetricsResource

    metrics = Metrics(lambda: sum(len(site.channels) for site in sites), backend.sessions)
    for site in sites:
        site.observers.append(metrics.observe)
    backend.observers.append(metrics.observe_store)
    backend.queries.append(metrics.observe_query)
    return BlobsSite(
        Root(metrics=MetricsResource(metrics)),
        DEFAULT_LIMITS,
        reactor_or_global(reactor),
        connections,
    )


def reactor_or_global(reactor: Any) -> Any:
    """Return a reactor: the global one if None."""
    if reactor is None:
        from twisted.internet import reactor
    return reactor
