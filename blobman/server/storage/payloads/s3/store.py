"""A store of payloads in a bucket: :class:`S3Payloads`."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Coroutine, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from .....clocks import steady_clock
from .....errors import ClosedError, StoreError
from ...interface import DamagedError, UnavailableError
from ...threads import Ending
from ..interface import IPayload, IPayloads, IPayloadWriter, Listed
from ..memory import MemoryPayload
from .answers import SOON, Answer, read_size, refusal
from .bucket import Bucket
from .client import PATIENCE, Client, Jitter, Request, half_or_more
from .listing import list_objects
from .parts import abort_parts, find_begun
from .reading import S3Payload
from .removing import MANY, remove_objects
from .signing import Signer
from .stream import range_request
from .writing import Writer

T = TypeVar("T")

LATE = 3600
"""
Seconds for which an upload that failed may still end well: the store may have got all of it, and
have stood still since.
"""

LINGER = 3600
"""Seconds that a download may take whose blob is deleted when it begins."""

MARK = "mark"
"""The object that tells whose store it is."""

PROBE = "probe"
"""The object that is written to see whether that is possible."""

PROBE_EVERY = 60.0
"""Seconds between two such attempts: they may cost money."""

_TOTAL = re.compile(r"bytes (?:\d+-\d+|\*)/(\d{1,18})", re.ASCII)


@implementer(IPayloads)
class S3Payloads:
    """
    Keeps payloads in a bucket. Nothing but a server, or what looks after it, may write there.

    :param bucket: where.
    :param reactor: the global one if None.
    :param patience: seconds without any progress after which the store counts as unavailable.
    :param signer: signs requests; the one that goes by the ``AWS_*`` variables and files if None.
    :param jitter: says how long to wait before a request is made again.
    :param clock: that of the reactor if None.
    :ivar observers: called with each :class:`~...interface.Asked`.
    :raise OSError: the bucket's file of authorities can't be read.
    :raise ValueError: there is no certificate in it.
    """

    linger = LINGER
    late = LATE
    is_apart = True

    def __init__(
        self,
        bucket: Bucket,
        reactor: Any = None,
        patience: float = PATIENCE,
        signer: Signer | None = None,
        jitter: Jitter = half_or_more,
        clock: IReactorTime | None = None,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._clock = clock or steady_clock(reactor)
        self._client = Client(reactor, bucket, patience, signer, jitter, self._clock)
        self.observers = self._client.observers
        self._mark: str | None = None
        self._is_open = False
        self._probed_at: float | None = None
        self._working: set[Deferred[Any]] = set()
        self._ending = Ending(self._close)

    # -- beginning and ending ----------------------------------------------------------------

    def open(self) -> Deferred[None]:
        """Begin; see :class:`IPayloads`."""
        self._is_open = True
        self._ending = Ending(self._close)
        return succeed(None)

    def close(self) -> Deferred[None]:
        """End; see :class:`IPayloads`."""
        return self._ending.reach()

    async def _close(self) -> None:
        self._is_open = False
        while self._working:
            await DeferredList([*self._working])
        await self._client.close()

    def _do(self, work: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
        if not self._is_open:
            work.close()
            return fail(ClosedError("the storage is not open"))
        return self._track(work)

    def _track(self, work: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
        """Do something that is waited for in the end."""
        doing = Deferred.fromCoroutine(work)
        ended: Deferred[None] = Deferred()
        self._working.add(ended)

        def tell(result: T | Failure) -> T | Failure:
            self._working.discard(ended)
            ended.callback(None)
            return result

        return doing.addBoth(tell)

    # -- payloads ------------------------------------------------------------------------------

    def create(self, key: str, size: int | None = None) -> Deferred[IPayloadWriter]:
        """Begin a payload; see :class:`IPayloads`."""
        return self._do(self._create(key, size))

    async def _create(self, key: str, size: int | None) -> IPayloadWriter:
        # It tells as well that the store answers, before anybody sends what can't be sent again.
        if (await self._head(key)).status != 404:
            raise UnavailableError("the key of a payload has been used")
        writer = Writer(self._client, key, size, self._track)
        await writer.begin()
        return writer

    async def _head(self, name: str) -> Answer:
        return await self._client.ask(Request("head", "HEAD", name), wanted=(404,))

    def get(self, key: str, most: int = 0) -> Deferred[IPayload]:
        """Open a payload; see :class:`IPayloads`."""
        return self._do(self._get_some(key, most) if most else self._get(key))

    async def _get(self, key: str) -> IPayload:
        answer = await self._head(key)
        if answer.status == 404:
            raise await self._why_missing()
        size = read_size(answer.header("content-length"))
        if size is None:
            raise UnavailableError("an object has got no length", SOON)
        return S3Payload(self._client, key, size, self._why_missing)

    async def _get_some(self, key: str, most: int) -> IPayload:
        answer = await self._client.ask(range_request(key, 0, most), wanted=(404, 416))
        if answer.status == 404:
            raise await self._why_missing()
        total = _TOTAL.fullmatch(answer.header("content-range"))
        size = int(total[1]) if total else len(answer.body)
        if size > most:
            return S3Payload(self._client, key, size, self._why_missing)
        content = b"" if answer.status == 416 else answer.body
        if len(content) != size:
            return await self._get(key)
        return MemoryPayload(content, most)

    async def _why_missing(self) -> StoreError:
        """Say why there is no object: it is missing, or all of the store is."""
        if await self._read_mark() == self._mark:
            return DamagedError("a payload is missing")
        return UnavailableError("the bucket has been replaced by another one")

    # -- removing ------------------------------------------------------------------------------

    def remove(self, keys: Sequence[str]) -> Deferred[dict[str, StoreError]]:
        """Remove payloads; see :class:`IPayloads`."""
        return self._do(self._remove(keys))

    async def _remove(self, keys: Sequence[str]) -> dict[str, StoreError]:
        left: dict[str, StoreError] = {}
        for start in range(0, len(keys), MANY):
            some = keys[start : start + MANY]
            try:
                left.update(await remove_objects(self._client, some))
                await self._abort_parts(some)
            except StoreError as error:
                left.update(dict.fromkeys(some, error))
        return left

    async def _abort_parts(self, names: Sequence[str]) -> None:
        """Give up what somebody has begun and not ended: who was killed, or could not reach it."""
        prefix = names[0] if len(names) == 1 else ""
        async for begun in find_begun(self._client, prefix):
            if begun.name in names:
                await abort_parts(self._client, begun)

    async def listed(self) -> AsyncGenerator[list[Listed], None]:
        """List what is there; see :class:`IPayloads`."""
        async for page in list_objects(self._client):
            yield [it for it in page if it.key not in (MARK, PROBE)]
        async for begun in find_begun(self._client, ""):
            yield [Listed(begun.name, 0, begun.when)]

    # -- the mark, and whether it works --------------------------------------------------------

    def read_mark(self) -> Deferred[str | None]:
        """Read the mark; see :class:`IPayloads`."""
        return self._do(self._note_mark())

    async def _note_mark(self) -> str | None:
        self._mark = await self._read_mark()
        return self._mark

    async def _read_mark(self) -> str | None:
        answer = await self._client.ask(Request("get", "GET", MARK), wanted=(404,))
        if answer.status == 200:
            return answer.body.decode("ascii", "replace")
        if answer.code != "NoSuchKey":
            raise refusal(answer, self._client.bucket.host)
        return None

    def write_mark(self, mark: str) -> Deferred[None]:
        """Write the mark; see :class:`IPayloads`."""
        return self._do(self._write_mark(mark))

    async def _write_mark(self, mark: str) -> None:
        await self._client.ask(Request("put", "PUT", MARK), mark.encode("ascii"))
        self._mark = mark

    def check_writing(self) -> Deferred[None]:
        """See whether it works; see :class:`IPayloads`."""
        return self._do(self._check_writing())

    async def _check_writing(self) -> None:
        if await self._read_mark() != self._mark:
            raise UnavailableError("the bucket has been replaced by another one")
        now = self._clock.seconds()
        if self._probed_at is None or now >= self._probed_at + PROBE_EVERY:
            await self._client.ask(Request("put", "PUT", PROBE), b"Can this be written?\n")
            self._probed_at = now
