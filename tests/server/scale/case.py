"""Two servers, each in a process of its own, on PostgreSQL and an object store."""

from __future__ import annotations

from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from blobman.server.accounts.tokens import TokenFile

from ..objectstore import environment, object_store, url_of
from ..processes import ServerProcess
from ..storage.hands import HTTPHands
from ..storage.truth import USERS

SERVERS = 2


class ScaleCase(TestCase):
    """
    Tests that begin with :meth:`start_all`.

    :ivar bucket: where the payloads are.
    :ivar servers: as many as there are :data:`SERVERS`.
    :ivar hands: those of clients of each server.
    """

    async def start_all(self, catalogue: str) -> None:
        """
        Start the servers.

        :param catalogue: the URL of a database.
        """
        store = object_store()
        environment(self, **store.credentials())
        self.bucket = store.bucket()
        self.engines = {"catalogue": catalogue, "payloads": url_of(self.bucket)}
        file = TokenFile(self.mktemp())
        self.token_file = file.path
        self.tokens = {user: file.add(user) for user in USERS}
        self.servers = [ServerProcess() for _ in range(SERVERS)]
        self.hands = [HTTPHands(self.tokens) for _ in range(SERVERS)]
        for hands in self.hands:
            self.addCleanup(hands.pool.closeCachedConnections)
        starts = [Deferred.fromCoroutine(self.start(number)) for number in range(SERVERS)]
        await gatherResults(starts)

    async def start(self, number: int) -> None:
        """Start one of the servers; again, if it was killed."""
        self.servers[number] = server = ServerProcess()
        self.addCleanup(server.kill)
        self.hands[number].port = await server.start(None, self.token_file, **self.engines)
