"""One upload: alone, or with other small blobs in one request."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from ..errors import (
    BlobAlreadyExistsError,
    BlobError,
    BlobNotFoundError,
    DeletedMeanwhile,
    ExternalBlobError,
    IllegalStatusChange,
    QuotaExceededError,
    ServerError,
    describe,
)
from ..interfaces import IBlobStore, IPayload, IRemote, IRemoteStream, Progress, Sent
from ..model import BlobKey, SyncStatus
from .bundles import Bundle, Bundles, Outcome
from .permits import Permits
from .puts import NewPreamble
from .retry import ends_run
from .transfer import Transfer, Transferring

BUNDLE_LIMIT = 64
"""How many blobs go up in one request at most."""

SMALL = 128 * 1024
"""Bytes of the largest blob that goes up with others: beyond, a request of its own costs little."""


_REFUSALS: dict[str | None, tuple[type[BlobError], str]] = {
    "quota": (QuotaExceededError, "the space on the server is used up"),
    "invalid": (ServerError, "the server does not take it"),
}


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
        self._bundles = Bundles(permits, self._carry, BUNDLE_LIMIT, "put")

    def start(self, transfer: Transfer) -> Transferring | None:
        """
        Upload a blob, if it is still to be.

        The transfer ends when the blob is SYNCED. It fails with ``BlobAlreadyExistsError``: another
        blob has the id; it is FAILED_UPLOAD now; ``DeletedMeanwhile``: it is not to be uploaded any
        more; or with what else the server or the store said; it is as it was.
        """
        if self._stream is None:
            return self._upload_alone(transfer)
        self._bundles.add(transfer, self._arrived)
        return None

    def _arrived(self, transfer: Transfer, outcome: Outcome | BaseException) -> None:
        if outcome is Outcome.DONE:
            transfer.end()
        elif isinstance(outcome, BaseException):
            transfer.end(Failure(outcome))
        else:
            transfer.follow(self._upload_alone(transfer))

    def give_up(self, key: BlobKey, failure: Failure) -> Deferred[None]:
        """
        Record that a blob can't be uploaded, if that is why an upload has failed.

        :return: fails as the upload has.
        """
        if not failure.check(QuotaExceededError):
            return fail(failure)
        recording = self._set_status(key, SyncStatus.FAILED_UPLOAD)
        recording.addErrback(lambda refusal: refusal.trap(IllegalStatusChange))
        return recording.addCallback(lambda _: failure)

    async def settle(self, transfer: Transfer) -> None:
        """
        Find out whether the server's blob of that id is ours, and record it if so.

        :raise BlobError: one that every blob would meet. Another is met again by the upload.
        """
        async with self._permits.hold(transfer):
            try:
                await self._compare_and_record(transfer.key)
            except BlobError as error:
                if ends_run(error):
                    raise

    async def _compare_and_record(self, key: BlobKey) -> None:
        payload = await self._store.open_payload(key.blob_id, key.namespace)
        if payload is None:
            return
        tag = await self._remote.compare(key.blob_id, payload, key.namespace)
        if tag is not None:
            await self._store.mark_uploaded({key.blob_id: tag}, key.namespace)

    async def _upload_alone(self, transfer: Transfer) -> None:
        async with self._permits.hold(transfer):
            await self._upload_now(transfer.key, transfer.report)

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
            await self._withdraw(key, tag)
            await self._is_uploaded(key)

    async def _withdraw(self, key: BlobKey, tag: bytes | None) -> None:
        """Have the server not keep what another manager deleted before it was all there."""
        record = await self._store.get_sync_status(key.blob_id, key.namespace)
        if record is not None and record[0] is not SyncStatus.PENDING_DELETE:
            return
        if record is None:
            # Whatever happens now, it will be deleted.
            await self._set_status(key, SyncStatus.PENDING_DELETE)
        with suppress(BlobNotFoundError):
            if await self._remote.get_tag(key.blob_id, key.namespace) == tag:
                await self._remote.delete(key.blob_id, key.namespace)
        if record is None:
            await self._store.delete(key.blob_id, key.namespace)

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
        if payload.external:
            await self._set_status(key, SyncStatus.FAILED_UPLOAD)
            what = describe(key.blob_id, key.namespace)
            raise ExternalBlobError(
                f"put {what}: others sealed it, so it is not sealed as one of the user's, and how "
                "it was delivered is not known"
            )
        made = self._new_preamble(key, payload.size)
        await self._store.record_preamble(key.blob_id, made, key.namespace)
        # Another process may have recorded one in between.
        return await self._store.open_payload(key.blob_id, key.namespace)

    async def _carry(self, bundle: Bundle) -> None:
        assert self._stream is not None
        namespace = bundle.namespace
        ids = [transfer.key.blob_id for transfer in bundle.aboard]
        opened = await self._store.open_pending_uploads(ids, namespace, SMALL)
        payloads = {blob_id: payload for blob_id, payload in opened.items() if payload.preamble}
        for blob_id in ids:
            if blob_id not in payloads:
                bundle.arrive(blob_id, Outcome.ALONE)
        if payloads:
            results = await self._stream.upload_many(list(payloads.items()), namespace)
            await self._record(bundle, payloads, results)

    async def _record(
        self, bundle: Bundle, payloads: dict[str, IPayload], results: dict[str, Sent]
    ) -> None:
        # Of one that was cancelled meanwhile nothing is recorded: its tag will tell.
        wanted = {blob_id: it for blob_id in payloads if (it := bundle.get(blob_id)) is not None}
        said = {blob_id: sent.result for blob_id, sent in results.items()}
        created = {it: results[it].tag for it in wanted if said.get(it) == "created"}
        for blob_id in created:
            self._note_uploaded(wanted[blob_id].key)
        refused = set(await self._store.mark_uploaded(created, bundle.namespace))
        for blob_id in refused:
            await self._withdraw(wanted[blob_id].key, created[blob_id])
        for blob_id, transfer in wanted.items():
            result, size = said.get(blob_id), payloads[blob_id].size
            if result == "created":
                transfer.report(size, size)
            elif result in _REFUSALS:
                kind, text = _REFUSALS[result]
                bundle.arrive(blob_id, kind(f"{bundle.what(blob_id)}: {text}"))
                continue
            # It is there already, or the server does not say: alone, it is settled by its tag.
            is_done = result == "created" and blob_id not in refused
            bundle.arrive(blob_id, Outcome.DONE if is_done else Outcome.ALONE)

    def _set_status(self, key: BlobKey, status: SyncStatus) -> Deferred[None]:
        return self._store.update_sync_status(key.blob_id, status, key.namespace)
