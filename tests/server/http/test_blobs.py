"""Every row of the table of ``/blobs/``, over TCP."""

from __future__ import annotations

import os

from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from blobman.crypto import MAX_CONTENT_SIZE, sealed_size
from blobman.protocol import MAX_SEALED_SIZE, write_tag
from blobman.server.storage.interface import BlobName

from .. import tampering
from ..blobs import name, sealed
from ..serving import ServerMixin


class BlobsTests(ServerMixin, TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await self.start_server()

    async def put(self, *ids: str, **options: str) -> None:
        for blob_id in ids:
            await self.expect(200, "PUT", f"blobs/alice/{blob_id}", sealed(blob_id), **options)

    # -- put -------------------------------------------------------------------------

    async def test_put_and_get(self) -> None:
        await self.put("a")
        answer = await self.expect(200, "GET", "blobs/alice/a")
        self.assertEqual(answer.body, sealed("a"))
        self.assertEqual(answer.header("Tag"), write_tag(sealed("a")[-16:]))
        self.assertEqual(answer.length, 800)

    async def test_put_of_an_id_that_exists(self) -> None:
        await self.put("a")
        await self.expect(409, "PUT", "blobs/alice/a", sealed("other"))
        answer = await self.expect(200, "GET", "blobs/alice/a")
        self.assertEqual(answer.body, sealed("a"))

    async def test_two_puts_at_once(self) -> None:
        contents = [sealed(str(number), 3_000_000) for number in range(2)]
        answers = await gatherResults(
            [
                Deferred.fromCoroutine(self.ask("PUT", "blobs/alice/a", content))
                for content in contents
            ]
        )
        self.assertEqual(sorted(answer.code for answer in answers), [200, 409])
        winner = contents[[answer.code for answer in answers].index(200)]
        self.assertEqual((await self.ask("GET", "blobs/alice/a")).body, winner)

    async def test_put_of_what_is_too_short(self) -> None:
        await self.expect(400, "PUT", "blobs/alice/a", b"x" * 724)
        await self.expect(400, "PUT", "blobs/alice/a", b"")
        await self.expect(404, "GET", "blobs/alice/a")
        await self.expect(200, "PUT", "blobs/alice/a", b"x" * 725)

    async def test_put_of_what_is_too_long(self) -> None:
        self.assertEqual(sealed_size(MAX_CONTENT_SIZE), MAX_SEALED_SIZE)
        for length in (MAX_SEALED_SIZE + 1, 2**63, 10**20 - 1):
            line = await self.announce(length, "blobs/alice/a", "alice", self.alice)
            self.assertIn(b" 413 ", line)

    async def test_namespaces(self) -> None:
        await self.put("a?namespace=mail")
        await self.expect(404, "GET", "blobs/alice/a")
        answer = await self.expect(200, "GET", "blobs/alice/a?namespace=mail")
        self.assertEqual(answer.body, sealed("a?namespace=mail"))
        await self.put("b?namespace=default")
        await self.expect(200, "GET", "blobs/alice/b")

    # -- who -------------------------------------------------------------------------

    async def test_no_token(self) -> None:
        for headers in (
            {"Authorization": "Basic YTpi"},
            {"Authorization": "Token !"},
            {"Authorization": ""},
        ):
            answer = await self.expect(401, "GET", "blobs/alice/", headers=headers)
            self.assertEqual(answer.header("WWW-Authenticate"), 'Token realm="blobs"')

    async def test_wrong_token(self) -> None:
        await self.expect(401, "GET", "blobs/alice/", token=self.bob)
        await self.expect(401, "GET", "blobs/carol/", user="carol", token=self.alice)
        await self.expect(401, "PUT", "blobs/alice/a", sealed(), token="wrong")

    async def test_anothers_blobs(self) -> None:
        await self.put("a")
        for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
            await self.expect(403, method, "blobs/alice/a", user="bob")
        await self.expect(403, "GET", "blobs/alice/", user="bob")
        await self.expect(404, "GET", "blobs/bob/a", user="bob")

    # -- get -------------------------------------------------------------------------

    async def test_get_of_what_is_not_there(self) -> None:
        await self.expect(404, "GET", "blobs/alice/a")
        await self.expect(404, "HEAD", "blobs/alice/a")
        await self.expect(404, "GET", "blobs/alice/a?only_flags=True")

    async def test_head(self) -> None:
        await self.put("a")
        answer = await self.expect(200, "HEAD", "blobs/alice/a")
        self.assertEqual(answer.body, b"")
        self.assertEqual(answer.header("Content-Length"), "800")
        self.assertEqual(answer.header("Tag"), write_tag(sealed("a")[-16:]))
        answer = await self.expect(200, "HEAD", "blobs/alice/")
        self.assertEqual((answer.body, answer.header("Content-Length")), (b"", "5"))

    async def test_ranges(self) -> None:
        await self.put("a")
        for asked, start, end in (
            ("0-0", 0, 1),
            ("10-19", 10, 20),
            ("790-", 790, 800),
            ("790-800", 790, 800),
            ("790-99999999999999999999999", 790, 800),
            ("-16", 784, 800),
            ("-9999", 0, 800),
        ):
            answer = await self.expect(
                206, "GET", "blobs/alice/a", headers={"Range": f"bytes={asked}"}
            )
            self.assertEqual(answer.body, sealed("a")[start:end], asked)
            self.assertEqual(answer.header("Content-Range"), f"bytes {start}-{end - 1}/800")
            self.assertEqual(answer.length, end - start)

    async def test_ranges_that_are_of_no_effect(self) -> None:
        await self.put("a")
        for asked in ("0-9", "800-"):
            headers = {"Range": f"bytes={asked}"}
            answer = await self.expect(200, "HEAD", "blobs/alice/a", headers=headers)
            self.assertEqual(answer.header("Content-Length"), "800")
            headers["If-Range"] = '"x"'
            answer = await self.expect(200, "GET", "blobs/alice/a", headers=headers)
            self.assertEqual(answer.body, sealed("a"))

    async def test_what_is_too_short_to_be_a_blob(self) -> None:
        await self.put("a")
        for size, tag in ((20, write_tag(sealed("a")[4:20])), (15, None), (0, None)):
            tampering.replace(self.root, name("a"), sealed("a")[:size])
            answer = await self.expect(200, "GET", "blobs/alice/a")
            self.assertEqual((answer.body, answer.header("Tag")), (sealed("a")[:size], tag))

    async def test_ranges_with_nothing_in_them(self) -> None:
        await self.put("a")
        for asked in ("800-", "900-1000", "-0"):
            answer = await self.expect(
                416, "GET", "blobs/alice/a", headers={"Range": f"bytes={asked}"}
            )
            self.assertEqual(answer.header("Content-Range"), "bytes */800")

    async def test_ranges_to_be_ignored(self) -> None:
        await self.put("a")
        for asked in (
            "bytes=0-1,3-4",
            "bytes=5-1",
            "bytes=-",
            "lines=1-2",
            "bytes=a-b",
        ):
            answer = await self.expect(200, "GET", "blobs/alice/a", headers={"Range": asked})
            self.assertEqual(answer.body, sealed("a"))

    async def test_a_large_blob(self) -> None:
        content = sealed("large", 20_000_000)
        await self.expect(200, "PUT", "blobs/alice/a", content)
        answer = await self.expect(200, "GET", "blobs/alice/a")
        self.assertEqual(answer.body, content)

    async def test_users_that_are_none(self) -> None:
        for user in ("a.b", "%2e%2e", "%C3%A4", "u" * 255):
            for path in ("", "/", "/a"):
                await self.expect(400, "GET", f"blobs/{user}{path}")
            await self.expect(400, "POST", f"stream/{user}?direction=download", b"[]")

    # -- list ------------------------------------------------------------------------

    async def test_list(self) -> None:
        for path in ("blobs/alice/", "blobs/alice"):
            self.assertEqual((await self.expect(200, "GET", path)).json(), [])
        await self.put("b", "a", "c", "m?namespace=mail")
        for query, expected in (
            ("", ["a", "b", "c"]),
            ("?order_by=date", ["b", "a", "c"]),
            ("?order_by=+date", ["b", "a", "c"]),
            ("?order_by=%2Bdate", ["b", "a", "c"]),
            ("?order_by=-date", ["c", "a", "b"]),
            ("?namespace=mail", ["m"]),
            ("?namespace=none", []),
            ("?only_count=True", {"count": 3}),
            ("?only_count=True&namespace=mail", {"count": 1}),
            ("?only_count=False&deleted=0&filter_flag=", ["a", "b", "c"]),
        ):
            answer = await self.expect(200, "GET", f"blobs/alice/{query}")
            self.assertEqual(answer.json(), expected, query)
            self.assertEqual(answer.header("Content-Type"), "application/json")

    async def test_combined_lists(self) -> None:
        await self.put("a", "b", "c", "d")
        for blob_id in "bad":
            await self.expect(200, "POST", f"blobs/alice/{blob_id}", b'["FAILED", "PENDING"]')
        for blob_id in "dc":
            await self.expect(200, "DELETE", f"blobs/alice/{blob_id}")
        for query, expected in (
            ("?filter_flag=FAILED", ["a", "b"]),
            ("?filter_flag=FAILED&order_by=-date", ["b", "a"]),
            ("?filter_flag=PENDING&only_count=True", {"count": 2}),
            ("?filter_flag=PROCESSED", []),
            ("?deleted=True", ["c", "d"]),
            ("?deleted=True&only_count=True", {"count": 2}),
            ("?deleted=True&filter_flag=FAILED", []),
        ):
            answer = await self.expect(200, "GET", f"blobs/alice/{query}")
            expected_sorted = expected
            self.assertEqual(answer.json(), expected_sorted, query)

    async def test_bad_fields(self) -> None:
        for query in (
            "order_by=size", "filter_flag=NONE", "namespace=..", "namespace=a/b",
            "namespace=%ff", "namespace=" + "n" * 255, "order_by=%00",
        ):  # fmt: skip
            await self.expect(400, "GET", f"blobs/alice/?{query}")

    # -- flags -----------------------------------------------------------------------

    async def test_flags(self) -> None:
        await self.put("a")
        answer = await self.expect(200, "GET", "blobs/alice/a?only_flags=True")
        self.assertEqual(answer.json(), [])
        await self.expect(200, "POST", "blobs/alice/a", b'["PROCESSING", "FAILED"]')
        answer = await self.expect(200, "GET", "blobs/alice/a?only_flags=True")
        self.assertEqual(answer.json(), ["PROCESSING", "FAILED"])

    async def test_flags_that_are_none(self) -> None:
        await self.put("a")
        for body in (
            b'["X"]',
            b"PENDING",
            b'"PENDING"',
            b"[1]",
            b"",
            b"\xff",
            b"[" * 4000,
        ):
            await self.expect(406, "POST", "blobs/alice/a", body)
        await self.expect(413, "POST", "blobs/alice/a", b" " * 5000)
        await self.expect(404, "POST", "blobs/alice/b", b'["FAILED"]')
        answer = await self.expect(200, "GET", "blobs/alice/a?only_flags=True")
        self.assertEqual(answer.json(), [])

    # -- delete ----------------------------------------------------------------------

    async def test_delete(self) -> None:
        await self.put("a")
        await self.expect(200, "DELETE", "blobs/alice/a")
        await self.expect(404, "GET", "blobs/alice/a")
        await self.expect(404, "DELETE", "blobs/alice/a")
        await self.put("a")
        answer = await self.expect(200, "GET", "blobs/alice/?deleted=True")
        self.assertEqual(answer.json(), ["a"])

    # -- what is not in the table ------------------------------------------------------

    async def test_other_methods(self) -> None:
        answer = await self.expect(405, "PATCH", "blobs/alice/a")
        self.assertEqual(answer.header("Allow"), "DELETE, GET, HEAD, POST, PUT")
        answer = await self.expect(405, "PUT", "blobs/alice/", sealed())
        self.assertEqual(answer.header("Allow"), "GET, HEAD")

    async def test_other_paths(self) -> None:
        for path in (
            "",
            "blobs",
            "blobs/",
            "other/alice/a",
            "blobs/alice/a/b",
            "blobs/alice/a/",
        ):
            await self.expect(404, "GET", path)

    async def test_ids_that_are_none(self) -> None:
        for blob_id in (
            "%2e%2e", "a%2Fb", "a.deleted", "%00", "a%20b", "%C3%A4", "x" * 255, "a.flags",
        ):  # fmt: skip
            for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
                data = sealed() if method in ("PUT", "POST") else None
                await self.expect(400, method, f"blobs/alice/{blob_id}", data)

    async def test_a_damaged_blob(self) -> None:
        await self.expect(200, "PUT", "blobs/alice/a", sealed("a", 3_000_000))
        key = tampering.key_of(self.root, name("a"))
        assert key is not None
        path = tampering.payload_path(self.root, key)
        with open(path, "r+b") as file:
            file.write(b"?")
        answer = await self.expect(500, "GET", "blobs/alice/a")
        self.assertEqual(answer.body, b"what is stored there is damaged\n")
        self.assertIsNone(answer.header("Tag"))
        os.unlink(path)
        await self.expect(500, "GET", "blobs/alice/a")
        await self.expect(200, "DELETE", "blobs/alice/a")

    async def test_an_unexpected_error(self) -> None:
        def fail(_: BlobName) -> None:
            raise ZeroDivisionError

        self.patch(self.backend, "read", fail)
        answer = await self.expect(500, "GET", "blobs/alice/a")
        self.assertEqual(answer.body, b"the server failed\n")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_a_blob_that_becomes_unreadable_breaks_the_connection(self) -> None:
        await self.expect(200, "PUT", "blobs/alice/a", sealed("a", 3_000_000))
        real_read = self.backend.read

        async def read_and_cut(name: BlobName) -> object:
            stored = await real_read(name)
            key = tampering.key_of(self.root, name)
            assert key is not None
            os.truncate(tampering.payload_path(self.root, key), 1_000_000)
            return stored

        self.patch(
            self.backend,
            "read",
            lambda name: Deferred.fromCoroutine(read_and_cut(name)),
        )
        try:
            await self.ask("GET", "blobs/alice/a")
        except Exception as error:
            self.assertEqual(type(error).__name__, "ResponseFailed")
        else:
            self.fail("a cut blob came as a whole one")
