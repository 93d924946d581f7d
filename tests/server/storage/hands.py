"""Who changes blobs by HTTP, and notes what came of it."""

from __future__ import annotations

import random

import treq
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers

from blobman.errors import BlobAlreadyExistsError, BlobNotFoundError
from blobman.model import Flags
from blobman.protocol import read_results, write_authorization, write_flags, write_manifest
from blobman.server.storage.interface import BlobName

from ..blobs import sealed
from .truth import SIZES, State, Truth


class RefusedError(Exception):
    """An answer that says nothing about a blob."""


class HTTPHands:
    """
    Does things to blobs by HTTP.

    :ivar port: where the server listens.
    :ivar answers: how many there have been.
    :ivar heard: fires when there are as many as ``until``.
    """

    sets_flags = False

    def __init__(self, tokens: dict[str, str]) -> None:
        self._tokens = tokens
        self.port = 0
        self.answers = 0
        self.pool = HTTPConnectionPool(reactor)
        self.pool.maxPersistentPerHost = 20
        # Each request is one change at most.
        self.pool.retryAutomatically = False
        self._client = HTTPClient(Agent(reactor, pool=self.pool))
        self.heard: Deferred[None] = Deferred()
        self.until = 0

    async def ask(self, method: str, user: str, path: str, data: bytes | None = None) -> bytes:
        """Send a request; give the body of an answer that is a success."""
        authorization = write_authorization(user, self._tokens[user])
        response = await self._client.request(
            method,
            f"http://127.0.0.1:{self.port}/{path}",
            headers=Headers({"Authorization": [authorization]}),
            data=data,
        )
        body = await treq.content(response)
        self.answers += 1
        if self.answers >= self.until and not self.heard.called:
            self.heard.callback(None)
        errors = {404: BlobNotFoundError, 409: BlobAlreadyExistsError}
        if response.code != 200:
            raise errors.get(response.code, RefusedError)(f"{response.code} {body!r}")
        return body

    async def _change(self, method: str, name: BlobName, data: bytes | None = None) -> None:
        path = f"blobs/{name.user}/{name.blob_id}?namespace={name.namespace}"
        await self.ask(method, name.user, path, data)

    async def put(self, name: BlobName, content: bytes, flags: tuple[Flags, ...]) -> None:
        """Put a blob."""
        await self._change("PUT", name, content)

    async def delete(self, name: BlobName) -> None:
        """Delete a blob."""
        await self._change("DELETE", name)

    async def set_flags(self, name: BlobName, flags: tuple[Flags, ...]) -> None:
        """Set a blob's flags."""
        await self._change("POST", name, write_flags(flags))

    async def stream(self, user: str, blobs: list[tuple[str, bytes]]) -> dict[str, str]:
        """Put some blobs in one request, and say what became of each."""
        body = write_manifest((blob_id, len(content)) for blob_id, content in blobs)
        body += b"".join(content for _, content in blobs)
        answer = await self.ask("POST", user, f"stream/{user}?direction=upload", body)
        return dict(read_results(answer))


class Streams:
    """
    Puts new blobs, some in one request.

    :param truth: is told.
    :param chance: says how large they are.
    """

    def __init__(self, truth: Truth, chance: random.Random) -> None:
        self._truth = truth
        self._chance = chance
        self._count = 0
        self._is_over = False

    def stop(self) -> None:
        """Have those that are at work begin nothing more."""
        self._is_over = True

    async def work(self, hands: HTTPHands, user: str, times: int) -> list[Exception]:
        """
        Do it until that fails, or it has been done so often.

        :return: what it failed with.
        """
        self._is_over = False
        for _ in range(times):
            if self._is_over:
                break
            self._count += 1
            names = [BlobName(user, "default", f"s{self._count}n{it}") for it in range(4)]
            blobs = {it.blob_id: sealed(it.blob_id, self._chance.choice(SIZES)) for it in names}
            outcomes: dict[str, Deferred[Exception | None]] = {
                blob_id: Deferred() for blob_id in blobs
            }
            works = [self._note(it, blobs[it.blob_id], outcomes[it.blob_id]) for it in names]
            changes = gatherResults([Deferred.fromCoroutine(it) for it in works])
            results: dict[str, Exception | None]
            try:
                answer = await hands.stream(user, list(blobs.items()))
            except Exception as error:
                results = dict.fromkeys(blobs, error)
            else:
                results = {
                    blob_id: None if it == "created" else RefusedError(it)
                    for blob_id, it in answer.items()
                }
            for blob_id, outcome in outcomes.items():
                outcome.callback(results[blob_id])
            errors = [it for it in await changes if it is not None]
            if errors:
                return errors
        return []

    async def _note(
        self, name: BlobName, content: bytes, outcome: Deferred[Exception | None]
    ) -> Exception | None:
        """Note what becomes of one blob of a stream."""
        state = State(name.blob_id, len(content))

        async def wait() -> None:
            error = await outcome
            if error is not None:
                raise error

        return await self._truth.change(name, lambda _: state, True, wait)
