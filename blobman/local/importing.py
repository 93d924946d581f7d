"""Taking over a database of Soledad without opening a store, with a report."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from threading import Event
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from ..arguments import check_namespaces, check_path, check_seconds
from ..errors import StoreError
from ..model import check_name
from .connection import as_bytes, derive_key
from .mapping import SoledadReport
from .soledad import is_soledads
from .takeover import TakeOver

__all__ = ["import_soledad"]


def import_soledad(
    local_path: str | os.PathLike[str],
    user: str,
    key: str | bytes,
    *,
    dry_run: bool = False,
    patience: float = 60.0,
    reactor: Any = None,
    external_namespaces: Iterable[str] = (),
) -> Deferred[SoledadReport | None]:
    """
    Take over what Soledad left in a folder, as opening it with a ``BlobManager`` does.

    :param local_path: the folder; the database is ``{user}_blobs.db`` in it.
    :param user: whose blobs.
    :param key: what opens Soledad's database, and will open the new one.
    :param dry_run: only see what would be done.
    :param patience: how many seconds to wait for other programs that use the database.
    :param reactor: the reactor in whose thread the Deferred fires; None for the global one.
    :param external_namespaces: where others have put blobs, as in ``BlobManager``; besides ``MX``,
        where Soledad's server delivers.
    :return: fires with what was taken over; with None if the database is not Soledad's any more.
        Fails with ``WrongKeyError`` or ``StoreError``: nothing was changed. Cancelling it stops
        the work soon; it was done all the same if it was too late.
    :raise ValueError: or ``TypeError``: an argument is wrong; the message names it.
    """
    if reactor is None:
        from twisted.internet import reactor
    folder = os.path.abspath(check_path("local_path", local_path))
    path = Path(folder) / f"{check_name('user', user)}_blobs.db"
    check_seconds("patience", patience)
    raw = as_bytes(key)
    stop = Event()
    external = check_namespaces("external_namespaces", external_namespaces)
    take_over = TakeOver(path, raw, derive_key(raw), patience, stop.is_set, external)

    def work() -> SoledadReport | None:
        if not path.exists():
            raise StoreError(f"there is no {path}")
        if not is_soledads(path, raw):
            take_over.check_key()
            return None
        return take_over.rehearse() if dry_run else take_over.run()

    done: Deferred[SoledadReport | None] = Deferred(lambda _: stop.set())
    deferToThreadPool(reactor, reactor.getThreadPool(), work).addBoth(_pass_on, done)
    return done


def _pass_on(result: Any, done: Deferred[Any]) -> None:
    if not done.called:
        done.callback(result)
