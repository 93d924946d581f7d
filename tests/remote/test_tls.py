"""Whom the client trusts: every certificate that is not the server's gets no byte of a request."""

from __future__ import annotations

import ipaddress

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from blobman import CertificateError

from ..certificates import Authority, alternative_name
from ..support import authority
from .listening import ListeningTestCase, Recorder, tls_with

HOST = "www.blobs.example"


def names(*hosts: str) -> list[x509.ExtensionType]:
    return [x509.SubjectAlternativeName([alternative_name(host) for host in hosts])]


def dns(*hosts: str) -> list[x509.ExtensionType]:
    """Alternative names as they are, whatever they look like."""
    return [x509.SubjectAlternativeName([_dns(host) for host in hosts])]


def _dns(host: str) -> x509.DNSName:
    return x509.DNSName._init_without_validation(host)


def others(*values: x509.GeneralName) -> list[x509.ExtensionType]:
    return [x509.SubjectAlternativeName(values)]


def raw(content: bytes) -> list[x509.ExtensionType]:
    return [x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, content)]


MAIL = x509.RFC822Name("eve@example.org")
URN = x509.UniformResourceIdentifier("urn:uuid:1")
COMMON_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])


class NamesTestCase(ListeningTestCase):
    async def count(self, host: str, extensions: list[x509.ExtensionType]) -> bytes:
        """
        Ask a server with such a certificate.

        :return: what it received.
        """
        recorder = Recorder()
        server = self.tls(extensions, issue={"common_name": host})
        port = await self.listen(recorder, server, ipv6=":" in host)
        manager = self.manager(port, f"[{host}]" if ":" in host else host)
        try:
            self.assertEqual(await manager.count(), {"count": 0})
        except CertificateError:
            self.assertEqual(recorder.received, b"", "it received something of a request")
            raise
        return recorder.received


# Each of these certificates has the host as its common name.
WRONG_NAMES: dict[str, list[x509.ExtensionType]] = {
    "no alternative name": [],
    "an empty list": raw(b"\x30\x00"),
    "an extension that can't be read": raw(b"\x04\x02ab"),
    "a list that is cut": raw(b"\x30\x20\x82\x11www.blo"),
    "a name that is no ASCII": raw(b"\x30\x13\x82\x11www.bl\xffbs.example"),
    "another name": names("evil.example"),
    "another name and an URN": others(_dns("evil.example"), URN),
    "an e-mail address": others(MAIL),
    "an e-mail address at the host": others(x509.RFC822Name(f"eve@{HOST}")),
    "an URN": others(URN),
    "an URI with the host": others(x509.UniformResourceIdentifier(f"https://{HOST}/")),
    "a directory's name": others(x509.DirectoryName(COMMON_NAME)),
    "a number": others(x509.RegisteredID(NameOID.COMMON_NAME)),
    "another kind": others(x509.OtherName(NameOID.COMMON_NAME, b"\x16\x01a")),
    "everything": dns("*"),
    "a top-level domain": dns("*.example"),
    "two stars": dns("*.*.example"),
    "a star in the middle": dns("www.*.example"),
    "half a star": dns("w*.blobs.example"),
    "a star one level up": dns("*.example", "*.www.blobs.example"),
    "the domain alone": dns("blobs.example"),
    "the host as a prefix": dns(f"{HOST}.evil.example"),
    "the host as a suffix": dns(f"evil{HOST}"),
    "the host and a NUL": dns(f"{HOST}\0.evil.example"),
    "a NUL first": dns(f"\0{HOST}"),
    "no name": dns(""),
    "a dot": dns("."),
    "an address": dns("127.0.0.1"),
    "the address, as an address": names("127.0.0.1"),
}


class WrongNamesTests(NamesTestCase):
    async def test_of_a_name(self) -> None:
        for what, extensions in WRONG_NAMES.items():
            with self.assertRaises(CertificateError, msg=what):
                await self.count(HOST, extensions)

    async def test_of_an_address(self) -> None:
        for extensions in (
            [],
            raw(b"\x30\x00"),
            raw(b"\x30\x05\x87\x03\x7f\x00\x00"),
            dns("127.0.0.1"),
            dns("*.0.0.1"),
            dns("*"),
            others(x509.UniformResourceIdentifier("https://127.0.0.1/")),
            others(MAIL),
            names("127.0.0.2"),
            names("::ffff:127.0.0.1"),
            names("::1"),
            others(x509.IPAddress(ipaddress.ip_network("127.0.0.0/8"))),
        ):
            with self.assertRaises(CertificateError, msg=repr(extensions)):
                await self.count("127.0.0.1", extensions)

    async def test_of_an_ipv6_address(self) -> None:
        for extensions in ([], dns("::1"), dns("[::1]"), names("127.0.0.1"), names("::2")):
            with self.assertRaises(CertificateError, msg=repr(extensions)):
                await self.count("::1", extensions)

    async def test_of_an_international_name(self) -> None:
        for name in ("*.example", "b\u00fccher.example", "xn--bcher-kvb.example"):
            with self.assertRaises(CertificateError, msg=name):
                await self.count("xn--bcher-kva.example", dns(name))
        # A star stands for no label in Punycode.
        with self.assertRaises(CertificateError):
            await self.count("xn--bcher-kva.blobs.example", dns("*.blobs.example"))

    async def test_the_message_says_which_host(self) -> None:
        with self.assertRaises(CertificateError) as caught:
            await self.count(HOST, dns("\x1b[31mevil.example"))
        self.assertIn(f"the server's certificate is not for {HOST}", str(caught.exception))
        self.assertNotIn("evil", str(caught.exception))


class RightNamesTests(NamesTestCase):
    async def test_right_names(self) -> None:
        for host, extensions in (
            (HOST, dns(HOST)),
            (HOST, dns(HOST.upper())),
            (HOST, dns("*.blobs.example")),
            (HOST, dns("evil.example", HOST)),
            # What is no name is passed over, as browsers do.
            (HOST, dns("*", "*.example", "10.0.0.1", "x\0y", HOST)),
            (HOST, others(URN, MAIL, _dns(HOST))),
            ("localhost", dns("localhost")),
            ("blob_server", dns("blob_server")),
            ("xn--bcher-kva.example", dns("xn--bcher-kva.example")),
            ("127.0.0.1", names("127.0.0.1")),
            ("127.0.0.1", names("10.0.0.1", "localhost", "127.0.0.1")),
            ("::1", names("::1")),
        ):
            received = await self.count(host, extensions)
            self.assertIn(b"Authorization: Token ", received)

    async def test_a_name_of_the_root(self) -> None:
        recorder = Recorder()
        port = await self.listen(recorder, self.tls(dns(HOST)))
        self.assertEqual(await self.manager(port, f"{HOST}.").count(), {"count": 0})

    async def test_a_certificate_that_signed_itself(self) -> None:
        own = Authority("server", extensions=names("127.0.0.1"))
        port = await self.listen(Recorder(), tls_with(own.write_with_key(self.path())))
        manager = self.manager(port, cert_file=own.write(self.path()))
        self.assertEqual(await manager.count(), {"count": 0})
        with self.assertRaises(CertificateError) as caught:
            await self.manager(port).count()
        self.assertIn("not from a trusted CA: it has signed itself", str(caught.exception))

    async def test_the_name_that_is_asked_for(self) -> None:
        asked: list[bytes | None] = []
        server = self.tls(names(HOST, "127.0.0.1"))
        server.getContext().set_tlsext_servername_callback(
            lambda connection: asked.append(connection.get_servername())
        )
        port = await self.listen(Recorder(), server)
        for host in (HOST, f"{HOST}.", "127.0.0.1"):
            await self.manager(port, host).count()
        self.assertEqual(asked, [HOST.encode(), HOST.encode(), None])


class ChainTests(ListeningTestCase):
    async def refuse(self, words: str, signer: Authority | None = None, **issue: object) -> None:
        recorder = Recorder()
        port = await self.listen(recorder, self.tls(signer=signer, issue=issue))
        trusted = (signer or authority()).write(self.path())
        with self.assertRaises(CertificateError) as caught:
            await self.manager(port, cert_file=trusted).count()
        self.assertIn(words, str(caught.exception))
        self.assertIn(f"127.0.0.1:{port}", str(caught.exception))
        self.assertEqual(recorder.received, b"")

    async def test_expired(self) -> None:
        await self.refuse("the server's certificate has expired", valid=(-3, -1))

    async def test_not_valid_yet(self) -> None:
        await self.refuse("the server's certificate is not valid yet", valid=(1, 3))

    async def test_an_expired_authority(self) -> None:
        old = Authority("old", (-3, -1))
        await self.refuse("the certificate of the server's authority has expired", old)

    async def test_an_authority_of_the_future(self) -> None:
        new = Authority("new", (1, 3))
        await self.refuse("the certificate of the server's authority is not valid yet", new)

    async def test_names_that_the_authority_may_not_give(self) -> None:
        limits = x509.NameConstraints([x509.DNSName("example")], [alternative_net("0.0.0.0/0")])
        await self.refuse("may not give", Authority("narrow", extensions=[limits]))

    async def test_a_client_certificate(self) -> None:
        extensions = [
            *names("127.0.0.1"),
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]),
        ]
        recorder = Recorder()
        port = await self.listen(recorder, self.tls(extensions))
        with self.assertRaises(CertificateError) as caught:
            await self.manager(port).count()
        self.assertIn("is not for a server", str(caught.exception))
        self.assertEqual(recorder.received, b"")

    async def test_authorities_that_are_not_trusted(self) -> None:
        # One that is unknown, and one that only has the name of one that is trusted.
        for stranger in (Authority("a stranger"), Authority("blobman tests")):
            recorder = Recorder()
            port = await self.listen(recorder, self.tls(signer=stranger))
            for trusted in (authority().write(self.path()), None):
                with self.assertRaises(CertificateError) as caught:
                    await self.manager(port, cert_file=trusted).count()
                self.assertIn("not from a trusted CA", str(caught.exception))
            self.assertEqual(recorder.received, b"")


def alternative_net(net: str) -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_network(net))
