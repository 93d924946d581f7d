"""The URLs that a manager takes, what it refuses, and where its requests go."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from blobman import BlobManager
from blobman.remote.addresses import read_url, server_urls

from ..support import SECRET, USER
from .listening import ListeningTestCase, Recorder


def read(url: object) -> str:
    return str(read_url("remote", url, USER))


class URLTests(SynchronousTestCase):
    def test_good(self) -> None:
        for url, expected in (
            ("http://host", "http://host"),
            ("https://host/blobs/", "https://host/blobs/"),
            ("HTTPS://Host:8443/a/B", "https://host:8443/a/B"),
            ("http://host:/", "http://host/"),
            ("http://127.0.0.1:80/", "http://127.0.0.1:80/"),
            ("http://127.0.0.1./", "http://127.0.0.1/"),
            ("http://[::1]:9000/blobs/", "http://[::1]:9000/blobs/"),
            ("http://[0:0:0:0:0:0:0:A]/", "http://[::a]/"),
            ("http://blob_server/", "http://blob_server/"),
            ("http://-odd-.example/", "http://-odd-.example/"),
            ("http://xn--a/", "http://xn--a/"),
            ("http://host.example./", "http://host.example./"),
            ("http://3com.example/", "http://3com.example/"),
            (f"http://{'x' * 63}/", f"http://{'x' * 63}/"),
            ("https://B\u00fccher.example/", "https://xn--bcher-kva.example/"),
            ("https://host/bl\u00f6bs/a%2Fb/", "https://host/bl%C3%B6bs/a%2Fb/"),
        ):
            self.assertEqual(read(url), expected)

    def test_the_user_at_the_end_of_the_path(self) -> None:
        for url, expected in (
            ("https://host/blobs/alice", "https://host/blobs/"),
            ("https://host/alice", "https://host/"),
            # With a slash, it is where the users' blobs are.
            ("https://host/alice/", "https://host/alice/"),
            ("https://host/blobs/malice", "https://host/blobs/malice"),
            ("https://host/alice/blobs", "https://host/alice/blobs"),
        ):
            self.assertEqual(read(url), expected)

    def test_no_urls(self) -> None:
        for url in (
            "host",
            "//host/",
            "ftp://host/",
            "http:host",
            "http://",
            "http:///path",
            "http://:80/",
            "http://host:port/",
            "http://host:0/",
            "http://host:65536/",
            "http://host:123456/",
            "http://host:\u0661/",
            "http://[::1/",
            "http://::1:8080/",
            "http://[::1]x:80/",
            "http://[fe80::1%25eth0]/",
            "http://h%6fst/",
            "http://host/?a=b",
            "http://host/#a",
            "http://host/a b",
            " http://host/",
            "http://host/\n",
            "http://ho\tst/",
            "http://host\x00/",
            "http://host\\@other/",
        ):
            error = self.assertRaises(ValueError, read, url)
            self.assertIn("remote must be an http or https URL", str(error))

    def test_no_hosts(self) -> None:
        for host in (
            "a..b",
            ".",
            ".host",
            "host..",
            "x" * 64,
            ".".join(["x" * 63] * 4),
            "h$st",
            "b\u00fccher_.example",
            "\u2100.example",  # it would become a/c
            "127.1",
            "192.168.1.300",
            "1234",
            "0x7f000001",
            "[12.1]",
            "[::g]",
        ):
            with self.assertRaises(ValueError, msg=host) as caught:
                read(f"http://{host}/")
            self.assertIn("remote", str(caught.exception))

    def test_a_password_is_refused_and_not_shown(self) -> None:
        for url in ("https://user:hush@host/", "https://hush@host/", "https://hush@a..b/"):
            error = self.assertRaises(ValueError, read, url)
            self.assertNotIn("hush", str(error))

    def test_another_type(self) -> None:
        for bad in (b"http://host/", 1, True):
            error = self.assertRaises(TypeError, server_urls, bad, None, USER, False)
            self.assertIn("remote must be a str", str(error))

    @given(st.text(max_size=30).map(lambda text: f"http://{text}") | st.text(max_size=30))
    def test_garbage(self, text: str) -> None:
        try:
            url = read(text)
        except ValueError as error:
            self.assertIn("remote", str(error))
        else:
            self.assertTrue(url.isascii())
            self.assertEqual(read(url), url)


class SafetyTests(SynchronousTestCase):
    def urls(self, remote: object, stream: object = None, allow: object = False) -> Any:
        return server_urls(remote, stream, USER, allow)

    def test_http_to_this_machine(self) -> None:
        for host in (
            "localhost",
            "LOCALHOST.",
            "127.0.0.1",
            "127.1.2.3",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]",
        ):
            self.assertIsNotNone(self.urls(f"http://{host}:8080/")[0])

    def test_http_to_others(self) -> None:
        for host in (
            "host",
            "blobs.example",
            "10.0.0.1",
            "0.0.0.0",
            "[::]",
            "[::2]",
            "[::ffff:10.0.0.1]",
            "localhost.example",
            "notlocalhost",
            # Some resolvers ask others where that is.
            "blobs.localhost",
            "127.0.0.1.example",
        ):
            url = f"http://{host}/"
            with self.assertRaises(ValueError) as caught:
                self.urls(url)
            self.assertIn("remote: http to", str(caught.exception))
            self.assertIn("allow_insecure", str(caught.exception))
            with self.assertRaises(ValueError) as caught:
                self.urls(None, url)
            self.assertIn("remote_stream: http to", str(caught.exception))
            self.assertEqual(self.urls(url, url, True), (read(url), read(url)))
            self.assertIsNotNone(self.urls(f"https://{host}/")[0])

    def test_streams_elsewhere(self) -> None:
        for remote, stream in (
            ("https://a.example/", "https://b.example/"),
            ("https://a.example/", "https://a.example.b.example/"),
            ("https://localhost/", "https://127.0.0.1/"),
            ("https://127.0.0.1/", "https://127.0.0.2/"),
        ):
            for allow in (False, True):
                with self.assertRaises(ValueError) as caught:
                    self.urls(remote, stream, allow)
                self.assertIn("remote_stream must be at the host of remote", str(caught.exception))

    def test_streams_less_safe(self) -> None:
        for allow in (False, True):
            with self.assertRaises(ValueError) as caught:
                self.urls("https://localhost/", "http://localhost/", allow)
            self.assertIn("remote_stream must be https", str(caught.exception))

    def test_streams_at_the_same_host(self) -> None:
        for remote, stream in (
            ("https://Host/", "https://host./stream/"),
            ("https://host:1/", "https://host:2/"),
            ("https://[::1]/", "https://[0::1]/"),
            ("http://localhost/", "http://localhost/"),
            ("http://localhost/", "https://localhost/"),
        ):
            self.assertNotIn(None, self.urls(remote, stream))

    def test_nothing(self) -> None:
        for nothing in (None, ""):
            self.assertEqual(self.urls(nothing, nothing), (None, None))

    def test_another_type(self) -> None:
        for allow in (None, 1, "yes"):
            error = self.assertRaises(TypeError, self.urls, "https://host/", None, allow)
            self.assertIn("allow_insecure", str(error))

    def test_the_manager_asks(self) -> None:
        def make(**options: Any) -> BlobManager:
            return BlobManager(None, options.pop("remote"), None, SECRET, USER, **options)

        self.assertRaises(ValueError, make, remote="http://blobs.example/")
        self.assertRaises(ValueError, make, remote="https://a..b/")
        self.assertRaises(
            ValueError, make, remote="https://a.example/", remote_stream="https://b.example/"
        )
        manager = make(remote="HTTP://Blobs.example/alice", allow_insecure=True)
        self.assertEqual(manager.remote, "HTTP://Blobs.example/alice")


class RequestTests(ListeningTestCase):
    async def request(self, host: str, path: str = "/blobs/") -> tuple[str, str]:
        """
        Count at a host.

        :return: what is asked for, and the ``Host`` header without the port.
        """
        recorder = Recorder()
        port = await self.listen(recorder, ipv6=host.startswith("["))
        url = f"http://{host}:{port}{path}"
        manager = self.manager(port, remote=url, allow_insecure=True)
        self.assertEqual(await manager.count(), {"count": 0})
        first, *lines = recorder.received.decode("ascii").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines if line)
        return first.split(" ")[1], headers["Host"].removesuffix(f":{port}")

    async def test_hosts(self) -> None:
        for host, expected in (
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[0:0:0:0:0:0:0:1]", "[::1]"),
            ("blob_server", "blob_server"),
            ("-odd-.example", "-odd-.example"),
            ("xn--a", "xn--a"),
            ("B\u00fccher.example", "xn--bcher-kva.example"),
            ("x" * 63, "x" * 63),
        ):
            self.assertEqual((await self.request(host))[1], expected)
            self.assertEqual(self.resolver.asked[-1], expected.strip("[]"))

    async def test_paths(self) -> None:
        for path, expected in (
            ("", "/alice/"),
            ("/", "/alice/"),
            ("/blobs", "/blobs/alice/"),
            ("/blobs/", "/blobs/alice/"),
            ("/blobs/alice", "/blobs/alice/"),
            ("/bl\u00f6bs/%2F/", "/bl%C3%B6bs/%2F/alice/"),
        ):
            asked, _ = await self.request("127.0.0.1", path)
            self.assertEqual(asked.partition("?")[0], expected)
