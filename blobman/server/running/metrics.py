"""Figures for Prometheus. Needs the extra ``blobman[server]``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from ..http.access import Report
from ..http.health import OpenResource, check_reading
from ..storage.interface import Asked, Queried, Sessions

_METHODS = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE"})


class Metrics:
    """
    What is counted. It names no user and no blob.

    :param open_connections: tells how many connections of clients are open.
    :param sessions: tells how many connections there are to the database of the catalogue.
    """

    def __init__(
        self, open_connections: Callable[[], int], sessions: Callable[[], Sessions]
    ) -> None:
        registry = self._registry = CollectorRegistry()
        labels = ["method", "code"]
        self._requests = Counter("blobman_requests", "Requests.", labels, registry=registry)
        self._received = Counter(
            "blobman_received_bytes", "Bytes of request bodies.", registry=registry
        )
        self._sent = Counter("blobman_sent_bytes", "Bytes of answers.", registry=registry)
        self._seconds = Histogram(
            "blobman_request_seconds", "Time to answer.", ["method"], registry=registry
        )
        self._make_store_counters(registry)
        self._make_catalogue_counters(registry, sessions)
        gauge = Gauge("blobman_open_connections", "Open connections.", registry=registry)
        gauge.set_function(open_connections)

    def _make_store_counters(self, registry: CollectorRegistry) -> None:
        def counter(name: str, about: str, labels: Sequence[str] = ()) -> Counter:
            return Counter(f"blobman_store_{name}", about, labels, registry=registry)

        self._store_requests = counter(
            "requests", "Requests to the store of payloads.", ["operation", "code"]
        )
        self._store_repeated = counter("repeated_requests", "Those that were made again.")
        self._store_sent = counter("sent_bytes", "Bytes of content that it was sent.")
        self._store_received = counter("received_bytes", "Bytes of content that it has sent.")
        self._store_seconds = Histogram(
            "blobman_store_seconds", "Time until it has answered.", ["operation"], registry=registry
        )

    def _make_catalogue_counters(
        self, registry: CollectorRegistry, sessions: Callable[[], Sessions]
    ) -> None:
        self._catalogue_seconds = Histogram(
            "blobman_catalogue_seconds",
            "Time until the database has answered.",
            ["operation"],
            registry=registry,
        )
        self._catalogue_failures = Counter(
            "blobman_catalogue_failures", "What it did not do.", ["operation"], registry=registry
        )
        gauge = Gauge(
            "blobman_catalogue_connections", "Connections to it.", ["state"], registry=registry
        )
        gauge.labels("busy").set_function(lambda: sessions().busy)
        gauge.labels("idle").set_function(lambda: sessions().idle)

    def observe(self, report: Report) -> None:
        """Count a request."""
        method = report.method if report.method in _METHODS else "other"
        self._requests.labels(method, str(report.code)).inc()
        self._received.inc(report.received)
        self._sent.inc(report.sent)
        self._seconds.labels(method).observe(report.seconds)

    def observe_store(self, asked: Asked) -> None:
        """Count a request to where payloads are."""
        self._store_requests.labels(asked.operation, str(asked.status or "none")).inc()
        self._store_seconds.labels(asked.operation).observe(asked.seconds)
        self._store_repeated.inc(asked.attempt > 1)
        self._store_sent.inc(asked.sent)
        self._store_received.inc(asked.received)

    def observe_query(self, queried: Queried) -> None:
        """Count a request to the database; in any thread."""
        self._catalogue_seconds.labels(queried.operation).observe(queried.seconds)
        self._catalogue_failures.labels(queried.operation).inc(not queried.is_well)

    def text(self) -> bytes:
        """Write the figures in Prometheus' format."""
        return generate_latest(self._registry)


class MetricsResource(OpenResource):
    """``/metrics``."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._metrics = metrics

    async def read(self, method: bytes) -> tuple[str, bytes]:
        """Give the figures."""
        check_reading(method)
        return CONTENT_TYPE_LATEST, self._metrics.text()
