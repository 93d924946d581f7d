"""``twist blobman``: the server as a plugin of Twisted."""

from __future__ import annotations

import atexit
import os
import sys
from typing import TYPE_CHECKING, cast

from twisted.python.usage import Options as BaseOptions
from twisted.python.usage import UsageError

from ...clocks import use_monotonic_time
from ..http.connections import allow
from .configuration import make_service
from .service import GRACE, BlobsService
from .sites import DEFAULT_LIMITS

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorCore
    from twisted.python.failure import Failure


class Options(BaseOptions):
    """The command line of ``twist blobman``."""

    optParameters = [  # noqa: RUF012
        ["data", "d", None, "The folder of the blobs; made if there is none."],
        ["catalogue", None, None, "Where the catalogue is, as a URL; without one, in that folder."],
        ["payloads", None, None, "Where large blobs are, as a URL; without one, in that folder."],
        ["keep-payloads", None, 0.0, "Days for which those of deleted blobs stay.", float],
        [
            "tokens",
            "t",
            None,
            "The file with the tokens' hashes; without one, they are in the catalogue.",
        ],
        ["incoming-tokens", None, None, "The file with the hashes of the tokens of services."],
        ["grace", None, GRACE, "Seconds that requests under way get when stopping.", float],
    ]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["listen"], self["incoming"], self["metrics"] = [], [], []

    def opt_listen(self, endpoint: str) -> None:
        """Where to listen for users, as an endpoint description; can be given several times."""
        self["listen"].append(endpoint)

    def opt_incoming(self, endpoint: str) -> None:
        """Where local services deliver, on loopback by default; can be given several times."""
        self["incoming"].append(endpoint)

    def opt_metrics(self, endpoint: str) -> None:
        """Where Prometheus finds figures, on loopback by default; can be given several times."""
        self["metrics"].append(endpoint)

    opt_l = opt_listen

    def postOptions(self) -> None:
        """
        Check that nothing is missing, and make the service.

        :raise UsageError: something is; or an endpoint can't be one.
        """
        if not self["listen"]:
            raise UsageError("--listen is needed")
        if not (self["data"] or (self["catalogue"] and self["payloads"])):
            raise UsageError("--data is needed, or both --catalogue and --payloads")
        if not self["keep-payloads"] >= 0:
            raise UsageError("--keep-payloads must be a number of days")
        if self["incoming"] and not self["incoming-tokens"]:
            raise UsageError("--incoming needs --incoming-tokens")
        try:
            self["service"] = _make_service(self)
        except ValueError as error:
            raise UsageError(f"--{error}") from error
        except ImportError as error:
            raise UsageError("--metrics needs more: pip install 'blobman[server]'") from error


def _make_service(options: Options) -> BlobsService:
    allow(DEFAULT_LIMITS.connections)
    return make_service(
        options["data"],
        options["tokens"],
        options["listen"],
        grace=options["grace"],
        incoming=options["incoming"],
        incoming_tokens=options["incoming-tokens"] or "",
        metrics=options["metrics"],
        catalogue=options["catalogue"],
        payloads=options["payloads"],
        keep_payloads=options["keep-payloads"],
    )


def makeService(options: Options) -> BlobsService:
    """Give the service. If it can't start, the process ends with a code that says so."""
    from twisted.internet import reactor

    use_monotonic_time(reactor)
    service: BlobsService = options["service"]
    service.when_listening().addErrback(_give_up, service)
    return service


def _give_up(_: Failure, service: BlobsService) -> None:
    from twisted.internet import reactor

    # Else it has been told to stop already.
    if service.running:
        atexit.register(_exit_with, os.EX_UNAVAILABLE)
        running = cast("IReactorCore", reactor)
        running.callWhenRunning(running.stop)


def _exit_with(code: int) -> None:
    # The reactor ends well however it ends, and ``twist`` with it.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
