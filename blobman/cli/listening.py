"""The work of ``serve``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from twisted.internet.defer import CancelledError, Deferred

from blobman.server.http.connections import allow
from blobman.server.running.configuration import make_service
from blobman.server.running.service import BlobsService, address_text
from blobman.server.running.sites import DEFAULT_LIMITS

from .screen import Screen
from .waiting import until_ended


async def run_server(
    reactor: Any, data: str | None, tokens: str | None, listen: Sequence[str], **options: Any
) -> None:
    """
    Run a server until this is cancelled, and show where it listens.

    :param options: see ``make_service``.
    :raise click.UsageError: an option is wrong.
    """
    allow(DEFAULT_LIMITS.connections)
    try:
        service = make_service(data, tokens, listen, reactor, **options)
    except ValueError as error:
        raise click.UsageError(f"--{error}") from error
    except ImportError as error:
        raise click.UsageError("--metrics needs more: pip install 'blobman[server]'") from error
    await _serve(service)


async def _serve(service: BlobsService) -> None:
    screen = Screen()
    service.startService()
    try:
        for port in await service.when_listening():
            screen.result(f"listening on {address_text(port)}")
        await Deferred[None]()
    except CancelledError:
        # Being told to stop is how a server ends well.
        pass
    finally:
        await until_ended(service.stopService())
