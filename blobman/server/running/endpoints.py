"""Where a server listens: Twisted's endpoint descriptions, and what is wrong with one."""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint

_NETWORK = re.compile(r"(haproxy:)?(?P<kind>tcp6?|ssl):")
_NO_NETWORK = re.compile(r"(haproxy:)?(unix|fd|systemd):")
_INTERFACE = re.compile(r"(?<!\\):interface=[^:]")


def make_endpoint(reactor: Any, purpose: str, description: str) -> IStreamServerEndpoint:
    """
    Make an endpoint from its description.

    :param purpose: what it is for; the message of an error begins with it.
    :raise ValueError: it is none; or its key or certificate can't be read.
    """
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, description)
    except Exception as error:
        # Each kind of endpoint has its own way of saying that it does not like something.
        raise ValueError(f"{purpose} {description}: {_reason(error)}") from error
    return endpoint


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}"
    if type(error).__module__.startswith("OpenSSL"):
        return "there has to be a key and a certificate, as PEM"
    return str(error) or type(error).__name__


def make_private_endpoint(reactor: Any, purpose: str, description: str) -> IStreamServerEndpoint:
    """
    Make an endpoint that is on loopback unless its description says otherwise.

    :param purpose: what it is for; the message of an error begins with it.
    :raise ValueError: it is none; or its kind can't be put on loopback, and it names no interface.
    """
    return make_endpoint(reactor, purpose, _on_loopback(purpose, description))


def _on_loopback(purpose: str, description: str) -> str:
    if _NO_NETWORK.match(description) or _INTERFACE.search(description):
        return description
    network = _NETWORK.match(description)
    if network is None:
        raise ValueError(
            f"{purpose} {description}: say with interface= where it is to be reached from"
        )
    address = r"\:\:1" if network["kind"] == "tcp6" else "127.0.0.1"
    return f"{description}:interface={address}"
