"""``twist blobman``: the server as a plugin of Twisted."""

from __future__ import annotations

from twisted.python.usage import Options as BaseOptions
from twisted.python.usage import UsageError

from .app import GRACE, BlobsService


class Options(BaseOptions):
    """The command line of ``twist blobman``."""

    optParameters = [  # noqa: RUF012
        ["data", "d", None, "The folder of the blobs; made if there is none."],
        ["tokens", "t", None, "The file with the hashes of the users' tokens."],
        ["incoming-tokens", None, "", "The file with the hashes of the tokens of services."],
        ["grace", None, GRACE, "Seconds that requests under way get when stopping.", float],
    ]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["listen"], self["incoming"], self["metrics"] = [], [], []

    def opt_listen(self, endpoint: str) -> None:
        """Where to listen for users, as an endpoint description; can be given several times."""
        self["listen"].append(endpoint)

    def opt_incoming(self, endpoint: str) -> None:
        """Where to listen for deliveries of local services; can be given several times."""
        self["incoming"].append(endpoint)

    def opt_metrics(self, endpoint: str) -> None:
        """Where to serve figures for Prometheus; can be given several times."""
        self["metrics"].append(endpoint)

    opt_l = opt_listen

    def postOptions(self) -> None:
        """
        Check that nothing is missing.

        :raise UsageError: something is.
        """
        for needed in ("data", "tokens", "listen"):
            if not self[needed]:
                raise UsageError(f"--{needed} is needed")
        if self["incoming"] and not self["incoming-tokens"]:
            raise UsageError("--incoming needs --incoming-tokens")


def makeService(options: Options) -> BlobsService:
    """Make the service."""
    return BlobsService(
        options["data"],
        options["tokens"],
        options["listen"],
        grace=options["grace"],
        incoming=options["incoming"],
        incoming_tokens=options["incoming-tokens"],
        metrics=options["metrics"],
    )
