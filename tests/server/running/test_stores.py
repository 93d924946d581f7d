"""How stores of payloads are named, and how a server is put together."""

from __future__ import annotations

import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase, TestCase

from blobman.errors import StoreError
from blobman.server.running.configuration import make_service
from blobman.server.running.stores import BucketStore, FolderStore, read_url, store_of

from ..objectstore import environment, object_store, url_of


class EnvironmentCase(SynchronousTestCase):
    def setUp(self) -> None:
        environment(self, AWS_ENDPOINT_URL=None, AWS_REGION=None, AWS_DEFAULT_REGION=None)
        environment(self, AWS_CONFIG_FILE="/dev/null", AWS_SHARED_CREDENTIALS_FILE="/dev/null")


class StoreTests(EnvironmentCase):
    def test_kinds(self) -> None:
        for payloads in ("a", "./s3", "/a/s3://b", "dir:with:colons"):
            self.assertIsInstance(store_of(payloads), FolderStore)
        for payloads in ("s3://bucket", "S3://bucket/prefix"):
            self.assertIsInstance(store_of(payloads), BucketStore)
        for payloads in ("", "gs://bucket", "file:///a"):
            self.assertRaises(ValueError, store_of, payloads)

    def test_amazon(self) -> None:
        bucket = read_url("s3://my-bucket/some/where/?region=eu-central-1")
        self.assertEqual(
            bucket.url("a"), "https://my-bucket.s3.eu-central-1.amazonaws.com/some/where/a"
        )
        self.assertEqual(bucket.region, "eu-central-1")
        # Its certificate would not be for such a host.
        bucket = read_url("s3://my.bucket")
        self.assertEqual(bucket.url("a"), "https://s3.us-east-1.amazonaws.com/my.bucket/a")

    def test_others(self) -> None:
        bucket = read_url("s3://b-1/p?endpoint=http://[::1]:8333&region=garage")
        self.assertEqual(bucket.url("a"), "http://[::1]:8333/b-1/p/a")
        bucket = read_url("s3://b-1?endpoint=https://s3.example.org/&addressing=virtual&ca=ca.pem")
        self.assertEqual(bucket.url("a"), "https://b-1.s3.example.org/a")
        self.assertEqual((bucket.prefix, bucket.ca, str(bucket)), ("", "ca.pem", "s3://b-1/"))

    def test_what_the_environment_says(self) -> None:
        environment(self, AWS_ENDPOINT_URL="http://localhost:9000", AWS_DEFAULT_REGION="here")
        bucket = read_url("s3://bucket")
        self.assertEqual(
            (bucket.url("a"), bucket.region), ("http://localhost:9000/bucket/a", "here")
        )
        environment(self, AWS_REGION="there")
        self.assertEqual(read_url("s3://bucket").region, "there")
        bucket = read_url("s3://bucket?endpoint=https://h&region=where")
        self.assertEqual((bucket.url("a"), bucket.region), ("https://h/bucket/a", "where"))

    def test_what_can_not_be_meant(self) -> None:
        for url in (
            "s3:bucket",
            "s3://",
            "s3:///prefix",
            "s3://a",
            "s3://user:hidden@bucket",
            "s3://bucket:80",
            "s3://bucket/a b",
            "s3://bucket#a",
            "s3://bucket?endpoint=ftp://h",
            "s3://bucket?endpoint=h:80",
            "s3://bucket?endpoint=https://user:hidden@h",
            "s3://bucket?endpoint=https://h/path",
            "s3://bucket?endpoint=https://h:port",
            "s3://bucket?endpoint=https://h:65536",
            "s3://bucket?endpoint=https://h:0",
            "s3://bucket?endpoint=https://[::1",
            "s3://user:hidden\u2105@bucket",
            "s3://bucket?endpoint=",
            "s3://bucket?region=a b",
            "s3://bucket?region=a/b",
            "s3://bucket?region=a&region=b",
            "s3://bucket?addressing=odd",
            "s3://bucket?secret=hidden",
        ):
            error = self.assertRaises(ValueError, read_url, url)
            self.assertNotIn("hidden", str(error))


class PuttingTogetherTests(EnvironmentCase):
    def setUp(self) -> None:
        super().setUp()
        self.data, self.other = self.mktemp(), self.mktemp()

    def refused(self, data: str | None, **options: Any) -> str:
        return str(self.assertRaises(ValueError, make_service, data, None, ["tcp:0"], **options))

    def test_where_nothing_is_said(self) -> None:
        self.assertEqual(self.refused(None), "catalogue is needed, or data for both")
        self.assertEqual(
            self.refused(None, catalogue=self.data), "payloads is needed, or data for both"
        )

    def test_what_has_no_use(self) -> None:
        elsewhere = {"catalogue": f"sqlite:{self.other}", "payloads": "s3://bucket"}
        self.assertIn("has no use", self.refused(self.data, **elsewhere))

    def test_what_can_not_be_made(self) -> None:
        error = self.refused(self.data, payloads="s3://bucket?ca=missing.pem")
        self.assertEqual(error, "payloads: ca missing.pem: No such file or directory")
        with open(self.data + ".pem", "w") as file:
            file.write("nonsense")
        error = self.refused(self.data, payloads=f"s3://bucket?ca={os.path.abspath(file.name)}")
        self.assertIn("holds no PEM certificate", error)
        self.assertIn("payloads: ", self.refused(self.data, payloads="s3://"))


class RunningTests(TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        self.store = object_store()
        self.data = self.mktemp()
        self.url = url_of(self.store.bucket())
        environment(self, **self.store.credentials())

    async def run_once(self, data: str | None, **options: Any) -> None:
        service = make_service(data, None, ["tcp:0:interface=127.0.0.1"], grace=0, **options)
        service.startService()
        try:
            await service.when_listening()
        finally:
            await service.stopService()

    async def refused(self, data: str | None, **options: Any) -> str:
        errors: list[str] = []
        try:
            await self.run_once(data, **options)
        except StoreError as error:
            errors.append(str(error))
        # It says so in the log.
        self.flushLoggedErrors()
        self.assertEqual(len(errors), 1)
        return errors[0]

    async def test_a_folder_and_an_object_store(self) -> None:
        for _ in range(2):
            await self.run_once(self.data, payloads=self.url)
            await self.run_once(None, catalogue=f"sqlite:{self.data}", payloads=self.url)
        self.assertIn("in another store", await self.refused(self.data))
        other = url_of(self.store.bucket())
        self.assertIn("bears no mark", await self.refused(self.data, payloads=other))
        self.assertIn("another catalogue", await self.refused(self.mktemp(), payloads=self.url))

    async def test_two_folders(self) -> None:
        payloads = self.mktemp()
        for _ in range(2):
            await self.run_once(self.data, payloads=payloads)
        self.assertIn("bears no mark", await self.refused(self.data, payloads=self.mktemp()))

    async def test_the_same_folder_twice(self) -> None:
        await self.run_once(self.data, payloads=self.data, catalogue=self.data)
        await self.run_once(self.data)

    async def test_one_that_is_away(self) -> None:
        environment(self, AWS_SECRET_ACCESS_KEY="hidden")
        error = await self.refused(self.data, payloads=self.url)
        self.assertIn("SignatureDoesNotMatch", error)
        self.assertNotIn("hidden", error)
