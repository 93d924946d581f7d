"""The work of ``put``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import NamedTuple

from twisted.internet.defer import CancelledError

from blobman import BlobDoc, BlobError, BlobManager, StoreError, SyncStatus

from .commands import Session
from .settings import Settings
from .sources import STDIN, LeftOut, file_size, find_files, open_source
from .synchronizing import telling_what_is_left
from .waiting import in_lanes

MOST_NAMED = 5
"""How many of the files that are left out are named."""

LANES = 8
"""How many files are put at a time: some are stored while others travel."""


class Wishes(NamedTuple):
    """How files are to be put."""

    namespace: str
    priority: str
    local_only: bool
    blob_id: str | None


async def put_files(session: Session, files: Iterable[str], wishes: Wishes) -> None:
    """
    Store files, and show the id of each.

    :param files: paths of files and folders, or ``-``.
    """
    found = _find_files(session, files)
    if not wishes.local_only:
        session.screen.tally.expect(map(file_size, found))
    async with (
        session.manager(server=not wishes.local_only) as manager,
        telling_what_is_left(session, manager),
    ):
        await in_lanes(LANES, found, lambda path: _put_file(session, manager, path, wishes))


def _find_files(session: Session, paths: Iterable[str]) -> list[str]:
    """Find the files that are meant, and tell what is left out in folders."""
    left_out: dict[LeftOut, list[str]] = {}

    def note(path: str, why: LeftOut) -> None:
        left_out.setdefault(why, []).append(path)

    is_own = _own_files(session.settings)
    found = list(find_files(paths, session.screen.failure, note, is_own))
    for why, those in left_out.items():
        more = f" and {len(those) - MOST_NAMED} more" if len(those) > MOST_NAMED else ""
        session.screen.remark(f"left out, as {why.value}: {', '.join(those[:MOST_NAMED])}{more}")
    return found


def _own_files(settings: Settings) -> Callable[[str], bool]:
    """Tell the files of the configuration and of the local store, and the store's folders."""
    configuration = settings.configuration
    kept = {os.path.realpath(it) for it in (configuration.files if configuration else ())}
    store, user = settings.get("store"), settings.get("user")
    prefix = None if store is None else os.path.join(os.path.realpath(store), f"{user}_blobs.")

    def is_own(path: str) -> bool:
        real = os.path.realpath(path)
        return real in kept or (prefix is not None and real.startswith(prefix))

    return is_own


async def _put_file(session: Session, manager: BlobManager, path: str, wishes: Wishes) -> None:
    try:
        with await open_source(session.reactor, path) as file:
            doc = BlobDoc(file, wishes.blob_id)
            size = os.fstat(file.fileno()).st_size
            if path == STDIN and size == 0:
                session.screen.warning("standard input was empty: this is a blob of nothing")
            await _put_doc(session, manager, doc, size, path, wishes)
    except (StoreError, BrokenPipeError):
        # The next file would fare no better; or whoever reads the results has had enough.
        raise
    except (BlobError, OSError, ValueError, TypeError) as error:
        session.screen.failure(path, error)


async def _put_doc(
    session: Session, manager: BlobManager, doc: BlobDoc, size: int, path: str, wishes: Wishes
) -> None:
    """Put a document, and show its id if it is stored: it can be without having been sent."""
    is_new = wishes.blob_id is None or await _status(manager, doc, wishes) is None
    status: SyncStatus | None = SyncStatus.SYNCED
    error: BlobError | CancelledError | None = None
    try:
        await manager.put(doc, size, wishes.namespace, wishes.local_only, wishes.priority)
    except (BlobError, CancelledError) as caught:
        error = caught
        status = await _status(manager, doc, wishes) if is_new else None
    if status is not None:
        status = SyncStatus.LOCAL_ONLY if wishes.local_only else status
        fields = {"id": doc.blob_id, "file": path, "size": size, "status": status.name}
        session.screen.result(f"{doc.blob_id}  {path}{_UNSENT.get(status, '')}", **fields)
    if isinstance(error, BlobError) and status is not None:
        session.screen.failure(path, error, _REMARKS.get(status, "it is stored here"))
    elif error is not None:
        raise error


_UNSENT = {
    SyncStatus.PENDING_UPLOAD: "  (stored here, NOT sent yet)",
    SyncStatus.FAILED_UPLOAD: "  (stored here, REFUSED by the server)",
}
_REMARKS = {SyncStatus.PENDING_UPLOAD: "it is stored here, and blobman sync will send it"}


async def _status(manager: BlobManager, doc: BlobDoc, wishes: Wishes) -> SyncStatus | None:
    assert manager.local is not None
    record = await manager.local.get_sync_status(doc.blob_id, wishes.namespace)
    return None if record is None else record[0]
