"""
What a server must have, after whatever happened to it: :class:`Truth`.

Each change either was acknowledged, and then it has happened; or it was refused for a reason that
says what is there; or nobody knows. So of each blob there is a set of the states that it can be in.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple, Protocol

from twisted.internet.defer import Deferred, gatherResults

from blobman.errors import BlobAlreadyExistsError, BlobNotFoundError
from blobman.model import Flags
from blobman.protocol import MIN_SEALED_SIZE, ListQuery
from blobman.server.storage.backend import Backend
from blobman.server.storage.backends import folder_backend
from blobman.server.storage.catalogue.connection import connect
from blobman.server.storage.interface import SMALL, BlobName, IBlobsBackend, UnavailableError
from blobman.testing.contracts.support import Consumer, sealed

USERS = ("alice", "bob")
NAMESPACES = ("default", "mail")
SIZES = (MIN_SEALED_SIZE, 800, 9_000, SMALL - 1, SMALL, SMALL + 1, 300_000, 700_000)


class State(NamedTuple):
    """
    What may be known of a blob.

    :ivar text: what :func:`sealed` made its content from; None if it is not there.
    :ivar was_deleted: whether its id is among those that have been deleted.
    """

    text: str | None = None
    size: int = 0
    flags: tuple[Flags, ...] = ()
    was_deleted: bool = False


NOTHING = State()

EXPECTED = (BlobAlreadyExistsError, BlobNotFoundError)
"""What a change fails with that finds things otherwise."""

Step = Callable[[State], State]


class Truth:
    """
    What was done, and what came of it.

    :ivar acknowledged: how many changes have been.
    :ivar unsure: of how many nobody knows.
    """

    def __init__(self) -> None:
        self.acknowledged = 0
        self.unsure = 0
        self._states: dict[BlobName, set[State]] = {}
        self._last_numbers: dict[tuple[str, str], int] = {}
        self._numbers: dict[BlobName, int] = {}

    async def change(
        self, name: BlobName, step: Step, puts: bool, doing: Callable[[], Awaitable[None]]
    ) -> Exception | None:
        """
        Do something, and note what came of it.

        :param step: makes the state after it of the state before it.
        :param puts: whether the blob must not be there before it, or must be.
        :return: what it failed with.
        :raise AssertionError: the outcome can't be.
        """
        states = self._states.setdefault(name, {NOTHING})
        fitting = {it for it in states if (it.text is None) == puts}
        others = states - fitting
        after = {step(it) for it in fitting}
        # It may be under way when the power fails.
        states |= after
        self.unsure += 1
        try:
            await doing()
        except EXPECTED as error:
            self.unsure -= 1
            assert others, f"{name}: {error!r}, and it can't be"
            self._states[name] = others
            return error
        except Exception as error:
            return error
        self.unsure -= 1
        self.acknowledged += 1
        assert after, f"{name}: done, and it can't be"
        self._states[name] = after
        return None

    def states(self, name: BlobName) -> set[State]:
        """Tell what a blob may be like."""
        return self._states.get(name, {NOTHING})

    def is_there(self, name: BlobName) -> bool:
        """Whether a blob certainly is there."""
        return all(it.text is not None for it in self.states(name))

    # -- checking ----------------------------------------------------------------------

    async def check(self, backend: Backend, root: str) -> None:
        """
        Hold a backend, which nobody uses, against it.

        :raise AssertionError: something is missing, or too much, or wrong.
        """
        await backend.janitor.clean()
        used = dict.fromkeys(USERS, (0, 0))
        for user in USERS:
            for namespace in NAMESPACES:
                blobs, size = await self._check_place(backend, user, namespace)
                used[user] = used[user][0] + blobs, used[user][1] + size
        usage = {it.user: (it.blobs, it.size) for it in await backend.catalogue.usage()}
        assert usage == {user: it for user, it in used.items() if it[0]}, (usage, used)
        await self._check_numbers(backend)
        self._check_files(root)

    def _check_files(self, root: str) -> None:
        check_files(root)

    async def _check_place(self, backend: Backend, user: str, namespace: str) -> tuple[int, int]:
        query = ListQuery(namespace=namespace)
        deleted = ListQuery(namespace=namespace, deleted=True)
        there = await listed(backend, user, query)
        were_deleted = await listed(backend, user, deleted)
        assert await backend.catalogue.count(user, query) == len(there)
        assert await backend.catalogue.count(user, deleted) == len(were_deleted)
        size = 0
        for name in [it for it in self._states if it[:2] == (user, namespace)]:
            state = await self._find(backend, name, name.blob_id in were_deleted)
            assert (state.text is not None) == (name.blob_id in there), name
            size += state.size
        known = {it.blob_id for it in self._states}
        assert set(there) | set(were_deleted) <= known, "something is there that nobody put"
        await self._check_changes(backend, user, namespace, set(there), set(were_deleted))
        return len(there), size

    async def _find(self, backend: Backend, name: BlobName, was_deleted: bool) -> State:
        """Tell the state that a blob is in, and know it from now on."""
        state = NOTHING._replace(was_deleted=was_deleted)
        content = await read(backend, name)
        if content is not None:
            flags = tuple(await backend.get_flags(name))
            (text,) = {
                it.text
                for it in self._states[name]
                if it.text is not None and content == sealed(it.text, it.size)
            } or {f"{len(content)} bytes that nobody put"}
            state = State(text, len(content), flags, was_deleted)
        assert state in self._states[name], f"{name}: {state}, not {self._states[name]}"
        self._states[name] = {state}
        return state

    async def _check_changes(
        self, backend: Backend, user: str, namespace: str, there: set[str], deleted: set[str]
    ) -> None:
        changes = await backend.catalogue.changes(user, namespace, 0, 1_000_000)
        numbers = [it.number for it in changes]
        assert numbers == sorted(set(numbers)), "numbers do not increase"
        assert {it.blob_id for it in changes if it.size is not None} == there
        assert {it.blob_id for it in changes if it.size is None} == deleted - there
        for change in changes:
            name = BlobName(user, namespace, change.blob_id)
            before = self._numbers.get(name, 0)
            is_new = max(before, self._last_number(user, namespace)) < change.number
            assert before == change.number or is_new, f"{name} has an old number"
            self._numbers[name] = change.number

    def _last_number(self, user: str, namespace: str) -> int:
        """Tell the last number that was there when this was checked before."""
        return max(self._last_numbers.values(), default=0)

    def _numbers_given(self, last_numbers: dict[tuple[str, str], int]) -> int:
        """Tell how many numbers were given until these were the last ones."""
        return max(last_numbers.values(), default=0)

    async def _check_numbers(self, backend: Backend) -> None:
        places = [(user, namespace) for user in USERS for namespace in NAMESPACES]
        last = {it: (await backend.catalogue.history(*it)).number for it in places}
        given = self._numbers_given(last) - self._numbers_given(self._last_numbers)
        assert self.acknowledged <= given <= self.acknowledged + self.unsure, (
            f"{given} numbers for {self.acknowledged} changes, and perhaps {self.unsure} more"
        )
        self._last_numbers, self.acknowledged, self.unsure = last, 0, 0


async def listed(backend: IBlobsBackend, user: str, query: ListQuery) -> list[str]:
    """Give a whole list."""
    return [it async for page in backend.list(user, query) for it in page]


async def read(backend: IBlobsBackend, name: BlobName) -> bytes | None:
    """Read a blob; None if it is not there."""
    try:
        stored = await backend.read(name)
    except BlobNotFoundError:
        return None
    try:
        consumer = Consumer()
        await stored.write_to(consumer)
        assert stored.tag == consumer.content[-16:]
        return consumer.content
    finally:
        stored.close()


def check_files(root: str) -> None:
    """
    Hold the catalogue's file and the payloads against each other, after the janitor's round.

    :raise AssertionError: the database is not whole, or there is a payload without a row.
    """
    own = os.path.join(root, ".blobman")
    connection = connect(os.path.join(own, "catalogue.sqlite"), 1_000_000)
    try:
        assert connection.pragma("integrity_check") == "ok"
        rows = {key for (key,) in connection.execute("SELECT key FROM blobs WHERE key NOT NULL")}
        rows |= {key for (key,) in connection.execute("SELECT key FROM garbage")}
        assert not connection.execute("SELECT * FROM uploads").fetchall(), "an upload is left"
        for table in ("contents", "digests"):
            of_none = f"SELECT blob FROM {table} EXCEPT SELECT blob FROM blobs"
            assert not connection.execute(of_none).fetchall(), f"something is left in {table}"
    finally:
        connection.close()
    payloads = os.path.join(own, "payloads")
    files = {file for _, _, them in os.walk(payloads) for file in them}
    assert files <= rows, f"payloads without rows: {files - rows}"


class Hands(Protocol):
    """
    What does things to blobs.

    :ivar sets_flags: whether it can put a blob with flags.
    """

    sets_flags: bool

    async def put(self, name: BlobName, content: bytes, flags: tuple[Flags, ...]) -> None:
        """Put a blob."""

    async def delete(self, name: BlobName) -> None:
        """Delete a blob."""

    async def set_flags(self, name: BlobName, flags: tuple[Flags, ...]) -> None:
        """Set a blob's flags."""


class BackendHands:
    """Does them to a backend, in one of the ways that there are."""

    sets_flags = True

    def __init__(self, backend: IBlobsBackend, chance: random.Random) -> None:
        self._backend = backend
        self._chance = chance

    async def put(self, name: BlobName, content: bytes, flags: tuple[Flags, ...]) -> None:
        """Put a blob."""
        if len(content) <= SMALL and not flags:
            (error,) = await self._backend.store([(name, content)])
            if error is not None:
                raise error
            return
        upload = await self._backend.receive(name, self._chance.choice((len(content), None)))
        try:
            for start in range(0, len(content), 100_000):
                await upload.write([memoryview(content)[start : start + 100_000]])
            await upload.publish(flags)
        except BaseException:
            await upload.discard()
            raise

    async def delete(self, name: BlobName) -> None:
        """Delete a blob."""
        await self._backend.delete(name)

    async def set_flags(self, name: BlobName, flags: tuple[Flags, ...]) -> None:
        """Set a blob's flags."""
        await self._backend.set_flags(name, flags)


class CountingHands(BackendHands):
    """
    Counts what it has done.

    :ivar heard: fires when that is enough.
    """

    def __init__(self, backend: IBlobsBackend, chance: random.Random, enough: int) -> None:
        super().__init__(backend, chance)
        self.heard: Deferred[None] = Deferred()
        self._left = enough

    def _count(self) -> None:
        self._left -= 1
        if not self._left:
            self.heard.callback(None)

    async def put(self, name: BlobName, content: bytes, flags: tuple[Flags, ...]) -> None:
        await super().put(name, content, flags)
        self._count()

    async def delete(self, name: BlobName) -> None:
        await super().delete(name)
        self._count()

    async def set_flags(self, name: BlobName, flags: tuple[Flags, ...]) -> None:
        await super().set_flags(name, flags)
        self._count()


class Workers:
    """
    Who does random things, several at once.

    :param truth: is told.
    :param chance: says what.
    """

    def __init__(self, truth: Truth, chance: random.Random) -> None:
        self._truth = truth
        self._chance = chance
        self._count = 0
        self._is_over = False

    async def work(self, hands: Hands, steps: int, workers: int = 4) -> list[Exception]:
        """
        Do some things. Each worker stops at the first that fails, or when all are to.

        :return: what they failed with.
        """
        self._count += 1
        self._is_over = False
        works = [self._work(hands, steps, number) for number in range(workers)]
        errors = await gatherResults([Deferred.fromCoroutine(it) for it in works])
        return [it for it in errors if it is not None]

    def stop(self) -> None:
        """Have those that are at work begin nothing more."""
        self._is_over = True

    async def _work(self, hands: Hands, steps: int, worker: int) -> Exception | None:
        chance = random.Random(self._chance.random())
        ids = [f"r{self._count % 7}w{worker}n{number}" for number in range(5)]
        for step in range(steps):
            if self._is_over:
                break
            user, namespace = chance.choice(USERS), chance.choice(NAMESPACES)
            name = BlobName(user, namespace, chance.choice(ids))
            error = await self.do(hands, name, f"{name}{self._count}-{step}", chance)
            if error is not None and not isinstance(error, EXPECTED):
                return error
        return None

    async def do(
        self, hands: Hands, name: BlobName, text: str, chance: random.Random
    ) -> Exception | None:
        """Put a blob, if it is not there for sure; else delete it, or set its flags."""
        flags = tuple(chance.sample(list(Flags), chance.randrange(3)))
        change = self._truth.change
        if not self._truth.is_there(name):
            flags, size = flags if hands.sets_flags else (), chance.choice(SIZES)
            return await change(
                name,
                lambda it: State(text, size, flags, it.was_deleted),
                True,
                lambda: hands.put(name, sealed(text, size), flags),
            )
        if chance.random() < 0.4:
            deleted = State(was_deleted=True)
            return await change(name, lambda _: deleted, False, lambda: hands.delete(name))
        return await change(
            name,
            lambda it: it._replace(flags=flags),
            False,
            lambda: hands.set_flags(name, flags),
        )


@asynccontextmanager
async def opened(root: str) -> AsyncIterator[Backend]:
    """Have a backend of a folder open in the block."""
    backend = folder_backend(root)
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


async def is_back(backend: Backend) -> bool:
    """Tell whether a backend can be used again."""
    try:
        await backend.check_writing()
    except UnavailableError:
        return False
    return True
