"""Signatures, and whose they are."""

from __future__ import annotations

import datetime
import logging
import os
from itertools import pairwise
from typing import Any

import botocore.auth
from botocore.credentials import Credentials, RefreshableCredentials
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from blobman.server.storage.interface import UnavailableError
from blobman.server.storage.payloads.s3 import Bucket
from blobman.server.storage.payloads.s3.signing import (
    CHUNK,
    IN_CHUNKS,
    UNSIGNED,
    Signer,
    framed_size,
)

from ...objectstore import environment

# The example of Amazon's documentation, "Signature Calculations: Transferring Payload in Chunks".
ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
WHEN = datetime.datetime(2013, 5, 24)
SEED = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
CHUNKS = (
    (65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
    (1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
    (0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
)

BUCKET = Bucket("examplebucket", "", "https", "s3.amazonaws.com", "us-east-1")


class SigningTests(TestCase):
    def signer(self, load: Any = lambda: Credentials(ACCESS_KEY, SECRET_KEY)) -> Signer:
        return Signer(reactor, BUCKET, load)

    async def test_the_example(self) -> None:
        self.patch(botocore.auth, "get_current_datetime", lambda *_, **__: WHEN)
        headers = {
            "x-amz-storage-class": "REDUCED_REDUNDANCY",
            "content-encoding": "aws-chunked",
            "x-amz-decoded-content-length": "66560",
            "content-length": "66824",
        }
        url = BUCKET.url("chunkObject.txt")
        self.assertEqual(url, "https://s3.amazonaws.com/examplebucket/chunkObject.txt")
        signed = await self.signer().sign("PUT", url, headers, IN_CHUNKS)
        (authorization,) = signed.headers.getRawHeaders("authorization") or ()
        self.assertIn(f"Signature={SEED}", authorization)
        for size, signature in CHUNKS:
            head = f"{size:x};chunk-signature={signature}\r\n".encode()
            self.assertEqual(signed.chunks.frame(b"a" * size), head + b"a" * size + b"\r\n")

    async def test_the_size_of_what_is_signed_in_chunks(self) -> None:
        for size in (0, 1, 15, 16, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 5 * CHUNK + 4711):
            signed = await self.signer().sign("PUT", BUCKET.url("a"), {}, IN_CHUNKS)
            pieces = [*range(0, size, CHUNK), size]
            sizes = [end - start for start, end in pairwise(pieces)]
            frames = [signed.chunks.frame(bytes(it)) for it in [*filter(None, sizes), 0]]
            self.assertEqual(framed_size(size), sum(map(len, frames)), size)

    async def test_those_that_run_out_are_refreshed(self) -> None:
        made: list[RefreshableCredentials] = []

        def metadata(number: int, minutes: int) -> dict[str, str]:
            now = datetime.datetime.now(datetime.timezone.utc)
            expires = now + datetime.timedelta(minutes=minutes)
            return {
                "access_key": f"key{number}",
                "secret_key": "s",
                "token": f"token{number}",
                "expiry_time": expires.isoformat(),
            }

        def load() -> RefreshableCredentials:
            refreshed = iter([metadata(2, 60)])
            made.append(
                RefreshableCredentials.create_from_metadata(
                    metadata(1, 11), lambda: next(refreshed), "test"
                )
            )
            return made[-1]

        signer = self.signer(load)
        keys = []
        for _ in range(3):
            signed = await signer.sign("GET", BUCKET.url("a"), {}, UNSIGNED)
            (authorization,) = signed.headers.getRawHeaders("authorization") or ()
            keys.append(authorization.partition("Credential=")[2].partition("/")[0])
            self.assertEqual(
                signed.headers.getRawHeaders("x-amz-security-token"), [f"token{keys[-1][3:]}"]
            )
        self.assertEqual(keys, ["key2"] * 3)
        self.assertEqual(len(made), 1)

    async def test_read_anew_once_they_were_refused(self) -> None:
        loaded = iter([Credentials("first", "s"), Credentials("second", "s")])
        signer = self.signer(lambda: next(loaded))
        for expected in ("first", "first", "second"):
            if expected == "second":
                signer.forget()
            signed = await signer.sign("GET", BUCKET.url("a"), {}, UNSIGNED)
            (authorization,) = signed.headers.getRawHeaders("authorization") or ()
            self.assertIn(f"Credential={expected}/", authorization)

    async def test_nothing_secret_is_logged(self) -> None:
        records: list[logging.LogRecord] = []
        handler = logging.Handler(logging.DEBUG)
        self.patch(handler, "emit", records.append)
        root = logging.getLogger()
        before = root.level
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        self.addCleanup(root.setLevel, before)
        self.addCleanup(root.removeHandler, handler)
        logging.getLogger("of.this.test").debug("it is on")
        signer = self.signer(lambda: Credentials(ACCESS_KEY, SECRET_KEY, "session-token"))
        await signer.sign("GET", BUCKET.url("a"), {}, UNSIGNED)
        text = "\n".join(it.getMessage() for it in records)
        self.assertIn("it is on", text)
        for secret in (SECRET_KEY, "session-token", "Signature"):
            self.assertNotIn(secret, text + repr(signer) + repr(BUCKET))


class CredentialsTests(TestCase):
    """They are where everybody's are."""

    def setUp(self) -> None:
        environment(self, **dict.fromkeys(it for it in os.environ if it.startswith("AWS_")))
        self.folder = self.mktemp()
        os.mkdir(self.folder)
        environment(
            self,
            AWS_CONFIG_FILE=os.path.join(self.folder, "config"),
            AWS_SHARED_CREDENTIALS_FILE=os.path.join(self.folder, "credentials"),
            AWS_EC2_METADATA_DISABLED="true",
        )
        self.signer = Signer(reactor, BUCKET)

    def write(self, name: str, text: str) -> None:
        with open(os.path.join(self.folder, name), "w") as file:
            file.write(text)

    async def used(self) -> str:
        signed = await self.signer.sign("GET", BUCKET.url("a"), {}, UNSIGNED)
        (authorization,) = signed.headers.getRawHeaders("authorization") or ()
        return authorization.partition("Credential=")[2].partition("/")[0]

    async def test_variables(self) -> None:
        environment(self, AWS_ACCESS_KEY_ID="from-variables")
        environment(self, AWS_SECRET_ACCESS_KEY="s")
        self.assertEqual(await self.used(), "from-variables")

    async def test_files_and_profiles(self) -> None:
        keys = "aws_access_key_id={0}\naws_secret_access_key=s\n"
        self.write(
            "credentials", f"[default]\n{keys.format('mine')}[other]\n{keys.format('others')}"
        )
        self.assertEqual(await self.used(), "mine")
        environment(self, AWS_PROFILE="other")
        self.signer.forget()
        self.assertEqual(await self.used(), "others")

    async def refused(self) -> str:
        error: Any = await self.assertFailure(Deferred.fromCoroutine(self.used()), UnavailableError)
        return str(error)

    async def test_there_are_none(self) -> None:
        self.assertIn("AWS_ACCESS_KEY_ID", await self.refused())

    async def test_a_file_that_is_none(self) -> None:
        self.write("credentials", "the-secret-itself\n")
        text = await self.refused()
        self.assertIn("can't be read", text)
        self.assertNotIn("the-secret-itself", text)


class BucketTests(SynchronousTestCase):
    def test_urls(self) -> None:
        bucket = Bucket("b", "some place/", "http", "127.0.0.1:8333", "r")
        self.assertEqual(bucket.url("a"), "http://127.0.0.1:8333/b/some%20place/a")
        self.assertEqual(
            bucket.url(None, (("x", "a/b c"), ("y", ""))),
            ("http://127.0.0.1:8333/b?x=a%2Fb%20c&y="),
        )
        inside = Bucket("b", "", "https", "s3.example.org", "r", is_in_host=True)
        self.assertEqual(inside.url("a"), "https://b.s3.example.org/a")
        self.assertEqual(inside.url(None), "https://b.s3.example.org/")
