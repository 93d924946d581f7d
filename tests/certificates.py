"""Throw-away authorities and certificates."""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PRIVATE = 0o600

NOW = (-1, 1)
"""Days from now that a certificate is valid from, and to."""


class Authority:
    """A certificate authority that lives for one test run."""

    def __init__(
        self,
        name: str,
        valid: tuple[float, float] = NOW,
        extensions: Iterable[x509.ExtensionType] = (),
    ) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        basic = x509.BasicConstraints(ca=True, path_length=None)
        self.certificate = self._sign(self._name, self._key, valid, [basic, *extensions])

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        valid: tuple[float, float],
        extensions: Iterable[x509.ExtensionType],
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.timezone.utc)
        start, end = (now + datetime.timedelta(days=days) for days in valid)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
        )
        for extension in extensions:
            critical = isinstance(extension, (x509.BasicConstraints, x509.NameConstraints))
            builder = builder.add_extension(extension, critical)
        return builder.sign(self._key, hashes.SHA256())

    def write(self, path: str) -> str:
        """Write the authority's own certificate."""
        with open(path, "wb") as file:
            file.write(self.certificate.public_bytes(serialization.Encoding.PEM))
        return path

    def issue(
        self,
        path: str,
        host: str = "127.0.0.1",
        *,
        valid: tuple[float, float] = NOW,
        common_name: str = "server",
        extensions: Iterable[x509.ExtensionType] | None = None,
    ) -> str:
        """
        Write a server's key and certificate into one file.

        :param extensions: instead of the alternative name ``host``.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        if extensions is None:
            extensions = [x509.SubjectAlternativeName([alternative_name(host)])]
        certificate = self._sign(name, key, valid, extensions)
        return _write_pair(path, key, certificate)

    def write_with_key(self, path: str) -> str:
        """Write the authority's own key and certificate into one file."""
        return _write_pair(path, self._key, self.certificate)


def _write_pair(path: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> str:
    with open(os.open(path, os.O_CREAT | os.O_WRONLY, PRIVATE), "wb") as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        file.write(certificate.public_bytes(serialization.Encoding.PEM))
    return path


def alternative_name(host: str) -> x509.GeneralName:
    """Make an address of what looks like one, and a name of anything else."""
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
