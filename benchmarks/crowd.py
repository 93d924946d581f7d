"""Very many bare clients that wait for changes, in a process that is told when."""

from __future__ import annotations

import json
import resource
import time
from itertools import count, cycle

from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool

from blobman.protocol import write_authorization

from .calls import answer_calls

WAIT = 60
"""Seconds that the server is asked to wait."""


class Account:
    """
    A user's clients, each of which follows what is changed.

    :ivar heard: how many changes each client has heard of.
    """

    def __init__(self, client: HTTPClient, url: str, user: str, token: str, clients: int) -> None:
        self._client = client
        self._url = f"{url}{user}/"
        self._headers: dict[bytes | str, bytes | str] = {
            "Authorization": write_authorization(user, token)
        }
        self.heard = [0] * clients
        self._expected: dict[str, tuple[int, Deferred[float]]] = {}
        self._failure: Failure | None = None

    async def _ask(self, path: str, method: str = "GET", body: bytes | None = None) -> bytes:
        url = f"{self._url}{path}"
        response = await self._client.request(method, url, headers=self._headers, data=body)
        answer: bytes = await response.content()
        if response.code != 200:
            raise RuntimeError(f"{response.code}: {answer!r}")
        return answer

    async def begin(self) -> None:
        """Have all of them wait."""
        page = json.loads(await self._ask("?changes=start&limit=10000"))
        for number in range(len(self.heard)):
            following = Deferred.fromCoroutine(self._follow(number, page["cursor"]))
            following.addErrback(self._fail)

    def _fail(self, failure: Failure) -> None:
        self._failure = failure
        for _, heard in self._expected.values():
            heard.errback(failure)

    async def _follow(self, number: int, cursor: str) -> None:
        while True:
            page = json.loads(await self._ask(f"?changes={cursor}&limit=10000&wait={WAIT}"))
            cursor = page["cursor"]
            self.heard[number] += len(page["changes"])
            for change in page["changes"]:
                self._hear(change[0])

    def _hear(self, blob_id: str) -> None:
        if blob_id in self._expected:
            left, heard = self._expected.pop(blob_id)
            if left > 1:
                self._expected[blob_id] = left - 1, heard
            else:
                heard.callback(time.perf_counter())

    async def change(self, blob_id: str) -> float:
        """Put a blob; give the seconds from then on until all the clients have heard of it."""
        if self._failure is not None:
            self._failure.raiseException()
        heard: Deferred[float] = Deferred()
        self._expected[blob_id] = len(self.heard), heard
        await self._ask(blob_id, "PUT", b"x" * 800)
        put = time.perf_counter()
        # It may have been told before the one who put it was.
        return max(0.0, await heard - put)


class Crowd:
    """Clients of many users."""

    def __init__(self) -> None:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        pool = HTTPConnectionPool(reactor)
        pool.maxPersistentPerHost = most
        self._client = HTTPClient(Agent(reactor, pool=pool))
        self._names = (f"new-{number}" for number in count())

    async def wait(self, url: str, tokens: dict[str, str], each: int, apart: str) -> None:
        """
        Have clients wait.

        :param tokens: of the users.
        :param each: how many clients each of them has.
        :param apart: a user for whom :meth:`change` changes nothing.
        """
        self._accounts = {
            user: Account(self._client, url, user, token, each) for user, token in tokens.items()
        }
        for account in self._accounts.values():
            await account.begin()
        self._turns = cycle(it for user, it in self._accounts.items() if user != apart)
        # All of them wait when one that came last has been served.
        await self.change(1)

    async def change(self, times: int) -> list[float]:
        """
        Change something for so many users, one after another.

        :return: the seconds from the end of each put until all the clients of its user have heard.
        """
        return [await next(self._turns).change(next(self._names)) for _ in range(times)]

    def begin_changes(self) -> None:
        """Change something again and again, until :meth:`end_changes`."""
        self._is_over = False
        self._changes = Deferred.fromCoroutine(self._change_on())

    async def _change_on(self) -> list[float]:
        seconds: list[float] = []
        while not self._is_over:
            seconds += await self.change(1)
        return seconds

    def end_changes(self) -> Deferred[list[float]]:
        """End what was begun; give what :meth:`change` does."""
        self._is_over = True
        return self._changes

    async def heard(self, user: str) -> list[int]:
        """Tell how many changes each client of a user has heard of, after one more."""
        account = self._accounts[user]
        await account.change(next(self._names))
        return account.heard


if __name__ == "__main__":
    answer_calls(Crowd())
