"""The names in a certificate, held against the host in the URL."""

from __future__ import annotations

import ipaddress

from cryptography import x509
from service_identity import CertificateError as OddPattern
from service_identity.hazmat import DNS_ID, DNSPattern

from ..errors import CertificateError


def is_address(host: str) -> bool:
    """Whether a host is an IP address and not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def check_names(certificate: x509.Certificate, host: str) -> None:
    """
    Look whether a certificate is for a host.

    Its alternative names of the host's own kind count, and nothing else: not its common name, nor
    a DNS name that looks like an address.

    :param host: a name in ASCII, or an IP address.
    :raise CertificateError: it is not; the message does not repeat what it says.
    :raise Exception: its names can't be read.
    """
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        raise CertificateError(
            f"the server's certificate is not for {host}: it has no alternative name"
        ) from None
    if not _has_name(extension.value, host):
        raise CertificateError(f"the server's certificate is not for {host}")


def _has_name(names: x509.SubjectAlternativeName, host: str) -> bool:
    if is_address(host):
        return ipaddress.ip_address(host) in names.get_values_for_type(x509.IPAddress)
    wanted = DNS_ID(host)
    return any(_matches(wanted, name) for name in names.get_values_for_type(x509.DNSName))


def _matches(wanted: DNS_ID, name: str) -> bool:
    try:
        return wanted.verify(DNSPattern.from_bytes(name.encode("utf-8")))
    except OddPattern:  # "*", "*.com", an address, a NUL: nobody's name
        return False
