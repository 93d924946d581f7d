"""
A folder of Soledad's becomes ours: the new database is built beside the old one, compared with
it, and put in its place.

Until that last step nothing has happened: a crash leaves the old database in its place, and
what was built is swept away when the next one starts. The old database stays, with
``.soledad`` behind its name.
"""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

import apsw
from twisted.logger import Logger

from .. import disk
from ..errors import ClosedError, StoreError, WrongKeyError
from ..sqlite import file_uri
from . import strays
from .connection import connect
from .faults import store_errors
from .journal import journal_of
from .lock import StoreLock
from .mapping import SoledadReport, Tally
from .payloads import PayloadFiles
from .rebuilding import Rebuilding
from .soledad import OldDatabase, is_soledads

__all__ = ["TakeOver"]

_READ = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI


class TakeOver:
    """
    Gives a path a database of ours if Soledad's is there.

    Its methods wait and work for long: they are called in a thread.

    :param path: the database.
    :param key: the application's key.
    :param raw_key: the raw key of the store's database.
    :param patience: how many seconds to wait for programs that use it.
    :param stopped: asked again and again; true ends the work with ``ClosedError``.
    :param external_namespaces: see :func:`.inherit`.
    """

    log = Logger()

    def __init__(
        self,
        path: Path,
        key: bytes,
        raw_key: bytes,
        patience: float,
        stopped: Callable[[], bool],
        external_namespaces: Collection[str] = (),
    ) -> None:
        self.path = path
        self.kept = path.with_name(path.name + ".soledad")
        self._key = key
        self._raw_key = raw_key
        self._patience = patience
        self._stopped = stopped
        self._external_namespaces = external_namespaces
        self._built = path.with_name(path.name + ".new")
        self._part = path.with_name(path.name + ".soledad.part")

    def open(self, connect_to: Callable[[], apsw.Connection]) -> apsw.Connection:
        """
        Open the database, after taking it over if it is Soledad's.

        :param connect_to: opens it, if it is ours.
        :raise WrongKeyError: the key opens neither; nothing was changed.
        :raise StoreError: it can't be opened, or not be taken over.
        :raise ClosedError: it was stopped.
        """
        before = self.path.stat().st_ino
        try:
            self._look_before_recovery()
            connection = connect_to()
        except WrongKeyError:
            if is_soledads(self.path, self._key):
                self.run()
            elif self.path.stat().st_ino == before:
                raise
        else:
            if self.path.stat().st_ino == before:
                return connection
            # Another process has put the new one there: this is the old one, perhaps with the
            # log of the new one.
            connection.close()
        return connect_to()

    def _look_before_recovery(self) -> None:
        """With another cipher or key, SQLite would take a journal for an empty one."""
        if journal_of(self.path).exists():
            try:
                self.check_key()
            except WrongKeyError:
                raise
            except StoreError:
                pass  # It is damaged, or half made; opening it tells.

    def check_key(self) -> None:
        """
        See whether the database is ours. It is left alone.

        :raise WrongKeyError: the key does not open it.
        :raise StoreError: it can't be opened.
        """
        try:
            connect(file_uri(self.path, "immutable=1"), self._raw_key, flags=_READ).close()
        except WrongKeyError as error:
            raise WrongKeyError(f"the key does not open {self.path}") from error.__cause__

    def run(self) -> SoledadReport | None:
        """
        Take it over.

        :return: None if there is nothing to take over, perhaps because another process has.
        :raise StoreError: it can't be done, and nothing was changed.
        :raise ClosedError: it was stopped, and nothing was changed.
        """
        with store_errors(str(self.path)):
            lock = StoreLock(self.path.with_suffix(".lock"))
            try:
                alone = lock.exclude(self._patience, self._is_wanted)
                if not alone or not is_soledads(self.path, self._key):
                    return None
                report = self._run()
            finally:
                lock.release()
        self.log.info(
            "Took over {count} blobs, {size} bytes, from {path}; it is kept as {kept}. {remarks}",
            count=report.blobs,
            size=report.size,
            path=report.path,
            kept=report.kept,
            remarks=dict(report.remarks),
        )
        return report

    def _is_wanted(self) -> bool:
        if self._stopped():
            raise ClosedError("the store was closed")
        return is_soledads(self.path, self._key)

    def _run(self) -> SoledadReport:
        self._check_kept()
        folder = self.path.with_suffix(".payloads")
        payloads = PayloadFiles(strays.scratch_of(folder))
        self._sweep()
        old = OldDatabase(self.path, self._key, self._patience)
        try:
            report = self._build(old, payloads)
            self._swap()
        finally:
            old.close()
        # If this is interrupted, who opens the store next goes on with it.
        strays.bring_home(payloads.folder, folder, strays.payload_names(payloads.folder))
        return report

    def _check_kept(self) -> None:
        # After a crash between its two steps, `_swap` has left the same file there.
        if not self.kept.exists() or self.kept.samefile(self.path):
            return
        if not filecmp.cmp(self.path, self.kept, shallow=False):
            raise StoreError(
                f"{self.path} can't be taken over: {self.kept} is in the way, and is another one"
            )

    def _sweep(self) -> None:
        """Remove what one that was interrupted has built."""
        shutil.rmtree(strays.scratch_of(self.path.with_suffix(".payloads")), ignore_errors=True)
        self._built.unlink(missing_ok=True)
        self._part.unlink(missing_ok=True)

    def _build(self, old: OldDatabase, payloads: PayloadFiles) -> SoledadReport:
        tally = Tally(self._external_namespaces)
        new = Rebuilding(self._built, self._raw_key, payloads, self._stopped)
        try:
            old.seize()
            new.copy(old, tally)
            new.verify()
            if not self.kept.exists():
                self._keep()
        except BaseException:
            payloads.close()
            self._sweep()
            raise
        payloads.close()
        return tally.report(str(self.path), str(self.kept))

    def _swap(self) -> None:
        # A journal of the old one that came back after a power cut would spoil the new one.
        disk.sync(self.path.parent)
        os.replace(self._built, self.path)
        disk.sync(self.path.parent)

    def _keep(self) -> None:
        try:
            os.link(self.path, self.kept)
        except OSError:
            # Not every file system can give a file a second name.
            shutil.copyfile(self.path, self._part)
            disk.sync(self._part)
            os.replace(self._part, self.kept)

    def rehearse(self) -> SoledadReport:
        """
        See what would be taken over, if it is Soledad's.

        Nothing is changed, but what a crash of Soledad left half done is taken back.

        :raise StoreError: it can't be read.
        """
        old = OldDatabase(self.path, self._key, self._patience)
        tally = Tally(self._external_namespaces)
        try:
            for blob in old.blobs():
                tally.count(blob)
        finally:
            old.close()
        return tally.report(str(self.path), str(self.kept))
