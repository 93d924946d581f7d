"""
A client that works until it is killed; ``tests.test_kills`` starts it.

It writes a line before each operation and one after it, so that whoever reads them knows what
has been acknowledged, and what may or may not have happened.
"""

from __future__ import annotations

import contextlib
import random
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from blobman import BlobManager, BlobNotFoundError

from .support import KEY, SECRET, USER, content, doc

SIZES = (0, 100, 10_000, 300_000, 3_000_000)


def data_of(blob_id: str) -> bytes:
    """A blob's size is in its id."""
    return content(int(blob_id.rpartition("-")[2]), blob_id)


def say(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


class Client:
    def __init__(self, manager: BlobManager, name: str, seed: str) -> None:
        self.manager = manager
        self.name = name
        self.random = random.Random(seed)
        self.count = 0
        self.seed = seed

    async def put(self) -> None:
        self.count += 1
        local_only = self.random.random() < 0.2
        kind = "only" if local_only else "blob"
        blob_id = f"{kind}-{self.name}-{self.seed}-{self.count}-{self.random.choice(SIZES)}"
        data = data_of(blob_id)
        say("putting", blob_id)
        await self.manager.put(doc(data, blob_id), len(data), local_only=local_only)
        say("put", blob_id)

    async def delete(self) -> None:
        # What the other lane is busy with is not touched.
        mine = [
            blob_id
            for blob_id in await self.manager.local_list()
            if blob_id.split("-")[1] == self.name and blob_id.split("-")[2][-1] == self.seed[-1]
        ]
        if mine:
            blob_id = self.random.choice(mine)
            say("deleting", blob_id)
            await self.manager.delete(blob_id)
            say("deleted", blob_id)

    async def get(self) -> None:
        there = await self.manager.remote_list()
        assert isinstance(there, list)
        if there:
            blob_id = self.random.choice(there)
            say("getting", blob_id)
            try:
                found = await self.manager.get(blob_id)
            except BlobNotFoundError:
                return
            assert found.read() == data_of(blob_id)
            say("got", blob_id)

    async def sync(self) -> None:
        say("syncing")
        # The other client may delete what was just listed.
        with contextlib.suppress(BlobNotFoundError):
            await self.manager.sync()
        say("synced")

    async def work(self) -> None:
        while True:
            step = self.random.choice([self.put, self.put, self.put, self.get, self.sync])
            await (self.delete if self.random.random() < 0.15 else step)()


async def follow(manager: BlobManager) -> None:
    await manager.follow(on_change=lambda change: say(change.kind, change.blob_id))


def main(reactor: Any, folder: str, url: str, token: str, name: str, seed: str) -> Deferred[None]:
    manager = BlobManager(folder, url, KEY, SECRET, USER, token)
    say("ready")
    # Every other life follows, besides.
    if int(seed) % 4 == 0:
        Deferred.fromCoroutine(follow(manager))
    lanes = [Client(manager, name, f"{seed}{lane}").work() for lane in "ab"]
    for lane in lanes[1:]:
        Deferred.fromCoroutine(lane)
    return Deferred.fromCoroutine(lanes[0])


if __name__ == "__main__":
    react(main, sys.argv[1:])
