"""Asking the server, before anything is set up, whether it can be used with these settings."""

from __future__ import annotations

import secrets
from typing import Any, NamedTuple

import click

from blobman import BlobManager, RetriableTransferError

from .secretfiles import RANDOM_BYTES
from .waiting import until_ended


class Server(NamedTuple):
    """
    A server, and what opens it.

    :ivar ca: the PEM file of the only authorities to trust; None for the system's.
    :ivar insecure: whether ``http`` to other machines is wanted.
    """

    remote: str
    user: str
    token: str
    ca: str | None
    insecure: bool

    def __repr__(self) -> str:
        return f"Server({self.remote!r}, {self.user!r})"


async def count_blobs(reactor: Any, server: Server) -> int:
    """
    Count the user's blobs.

    :raise BlobError: the server does not accept the token, or can't be reached, or is none.
    """
    manager = BlobManager(
        None,
        server.remote,
        None,
        secrets.token_bytes(RANDOM_BYTES),
        server.user,
        server.token,
        server.ca,
        reactor=reactor,
        allow_insecure=server.insecure,
    )
    try:
        return int((await manager.count())["count"])
    except RetriableTransferError as error:
        hint = "--offline sets this up without asking the server"
        raise RetriableTransferError(f"{error}; {hint}") from error
    finally:
        await until_ended(manager.close())


async def refuse_other_keys(reactor: Any, server: Server) -> None:
    """
    Refuse to make new keys beside blobs that others have sealed.

    :raise click.UsageError: there are blobs.
    :raise BlobError: see ``count_blobs``.
    """
    count = await count_blobs(reactor, server)
    if count:
        blobs = "a blob" if count == 1 else f"{count} blobs"
        raise click.UsageError(
            f"the server has {blobs} of {server.user} already, which new keys can't open: blobman"
            " init --recover takes the recovery code of the keys that sealed them; --offline makes"
            " new ones"
        )
