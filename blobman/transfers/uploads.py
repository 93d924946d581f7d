"""One upload: alone, or with other small blobs in one request."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from ..errors import (
    BlobAlreadyExistsError,
    DeletedMeanwhile,
    QuotaExceededError,
    ServerError,
)
from ..interfaces import IBlobStore, IPayload, IRemote, IRemoteStream, Progress
from ..model import BlobKey, SyncStatus
from .bundles import Bundlers, Outcome, Passenger
from .permits import Permits, Place

BUNDLE_LIMIT = 64
"""How many blobs go up in one request at most."""

SMALL = 128 * 1024
"""Bytes of the largest blob that goes up with others: beyond, a request of its own costs little."""


NewPreamble = Callable[[BlobKey, int], bytes]
"""Makes a raw preamble for a blob and its size in bytes. Never the same twice."""


class Uploader:
    """Sends what is PENDING_UPLOAD, and records what became of it."""

    def __init__(
        self,
        store: IBlobStore,
        remote: IRemote,
        stream: IRemoteStream | None,
        permits: Permits,
        new_preamble: NewPreamble,
        note_uploaded: Callable[[BlobKey], None],
    ) -> None:
        """
        Nothing is under way.

        :param stream: None if every blob goes alone.
        :param new_preamble: makes the preamble of a blob that was stored without one.
        :param note_uploaded: told of each blob that the server has taken, before it is recorded.
        """
        self._store = store
        self._remote = remote
        self._stream = stream
        self._permits = permits
        self._new_preamble = new_preamble
        self._note_uploaded = note_uploaded
        self._bundlers = Bundlers(permits, self._carry, BUNDLE_LIMIT)

    def upload(self, key: BlobKey, place: Place, report: Progress) -> Deferred[None]:
        """
        Upload a blob, if it is still to be.

        :return: fires with None when it is SYNCED. Fails with ``BlobAlreadyExistsError``: another
            blob has the id; it is FAILED_UPLOAD now; ``DeletedMeanwhile``: it is not to be uploaded
            any more; or with what else the server or the store said; it is as it was.
        """
        if self._stream is None:
            return Deferred.fromCoroutine(self._upload_alone(key, place, report))

        def arrived(is_done: bool) -> Deferred[None] | None:
            if is_done:
                return None
            return Deferred.fromCoroutine(self._upload_alone(key, place, report))

        return self._bundlers.transfer("put", key, place, report).addCallback(arrived)

    async def settle(self, key: BlobKey) -> None:
        """Find out whether the server's blob of that id is ours, and record it if so."""
        payload = await self._store.open_payload(key.blob_id, key.namespace)
        if payload is None:
            return
        tag = await self._remote.compare(key.blob_id, payload, key.namespace)
        if tag is not None:
            await self._store.mark_uploaded({key.blob_id: tag}, key.namespace)

    async def _upload_alone(self, key: BlobKey, place: Place, report: Progress) -> None:
        async with self._permits.hold(place):
            await self._upload_now(key, report)

    async def _upload_now(self, key: BlobKey, report: Progress) -> None:
        remote = self._remote
        if await self._is_uploaded(key):
            return
        payload = await self._open_to_seal(key)
        if payload is None:
            raise DeletedMeanwhile.of(key.blob_id, key.namespace)
        try:
            tag: bytes | None = await remote.upload(key.blob_id, payload, key.namespace, report)
        except BlobAlreadyExistsError:
            tag = await remote.compare(key.blob_id, payload, key.namespace)
            if tag is None:
                await self._set_status(key, SyncStatus.FAILED_UPLOAD)
                raise
        self._note_uploaded(key)
        if await self._store.mark_uploaded({key.blob_id: tag}, key.namespace):
            # Another manager of this store decided otherwise meanwhile.
            await self._is_uploaded(key)

    async def _is_uploaded(self, key: BlobKey) -> bool:
        """
        Look up whether a blob is still to be uploaded.

        :raise DeletedMeanwhile: it is neither to be uploaded, nor is it.
        """
        record = await self._store.get_sync_status(key.blob_id, key.namespace)
        status = None if record is None else record[0]
        if status is SyncStatus.FAILED_UPLOAD:
            # Another manager of this store met a refusal. This one finds out which.
            await self._set_status(key, SyncStatus.PENDING_UPLOAD)
        elif status not in (SyncStatus.PENDING_UPLOAD, SyncStatus.SYNCED):
            raise DeletedMeanwhile.of(key.blob_id, key.namespace)
        return status is SyncStatus.SYNCED

    async def _open_to_seal(self, key: BlobKey) -> IPayload | None:
        """Open a blob with the preamble that every attempt seals it with, once it is recorded."""
        payload = await self._store.open_payload(key.blob_id, key.namespace)
        if payload is None or payload.preamble:
            return payload
        made = self._new_preamble(key, payload.size)
        await self._store.record_preamble(key.blob_id, made, key.namespace)
        # Another process may have recorded one in between.
        return await self._store.open_payload(key.blob_id, key.namespace)

    async def _carry(self, namespace: str, passengers: list[Passenger]) -> None:
        assert self._stream is not None
        by_id = {passenger.key.blob_id: passenger for passenger in passengers}
        opened = await self._store.open_pending_uploads(list(by_id), namespace, SMALL)
        payloads = {blob_id: payload for blob_id, payload in opened.items() if payload.preamble}
        for blob_id in by_id.keys() - payloads.keys():
            by_id[blob_id].arrive(Outcome.ALONE)
        if not payloads:
            return
        results = await self._stream.upload_many(list(payloads.items()), namespace)
        # Of one that was cancelled meanwhile nothing is recorded: its tag will tell.
        created = {
            blob_id: sent.tag
            for blob_id, sent in results.items()
            if sent.result == "created" and not by_id[blob_id].arrived.called
        }
        for blob_id in created:
            self._note_uploaded(by_id[blob_id].key)
        refused = set(await self._store.mark_uploaded(created, namespace))
        for blob_id, payload in payloads.items():
            passenger = by_id[blob_id]
            result = results[blob_id].result if blob_id in results else None
            if result == "created":
                passenger.report(payload.size, payload.size)
            passenger.arrive(Outcome.ALONE if blob_id in refused else _outcome(passenger, result))

    async def _set_status(self, key: BlobKey, status: SyncStatus) -> None:
        await self._store.update_sync_status(key.blob_id, status, key.namespace)


def _outcome(passenger: Passenger, result: str | None) -> Outcome | Exception:
    if result == "created":
        return Outcome.DONE
    if result == "quota":
        return QuotaExceededError(f"{passenger.what}: the space on the server is used up")
    if result == "invalid":
        return ServerError(f"{passenger.what}: the server does not take it")
    # It is there already, or the server does not say: alone, it is settled by its tag.
    return Outcome.ALONE
