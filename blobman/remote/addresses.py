"""Where a server is: its URLs, checked and made plain before anything is sent."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urlsplit

import idna

from ..wire.names import is_address

_NETLOC = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:@%]+)(?::(?P<port>[0-9]{0,5}))?")
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LONGEST_NAME = 253
_PATH_CHARACTERS = "/%:@!$&'()*+,;=~"


@dataclass(frozen=True)
class ServerURL:
    """
    A base URL.

    :ivar scheme: ``http`` or ``https``.
    :ivar host: a name in ASCII and small letters, or an IP address without brackets.
    :ivar port: None for the scheme's own.
    :ivar path: in ASCII, with nothing left to encode.
    """

    scheme: str
    host: str
    port: int | None
    path: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"

    @property
    def is_private(self) -> bool:
        """Whether nobody on the way can listen: with TLS, or on this machine alone."""
        return self.scheme == "https" or _is_loopback(self.host)


def _is_loopback(host: str) -> bool:
    if not is_address(host):
        return host.removesuffix(".") == "localhost"
    address = ipaddress.ip_address(host)
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def server_urls(
    remote: object, remote_stream: object, user: str, allow_insecure: object
) -> tuple[str | None, str | None]:
    """
    Check where a server's blobs and streams are.

    :param remote: what was given as such; empty or None for no server.
    :param remote_stream: what was given as such; empty or None for no streams.
    :param user: the user; the last part of a path that has no slash at its end may name them.
    :param allow_insecure: whether ``http`` may be used to other machines.
    :return: both base URLs, in ASCII; None for what was not given.
    :raise TypeError: an argument is of another type.
    :raise ValueError: an argument is wrong. The message names it, and shows no password.
    """
    if not isinstance(allow_insecure, bool):
        raise TypeError(f"allow_insecure must be a bool, not {type(allow_insecure).__name__}")
    blobs = _read("remote", remote, user, allow_insecure)
    streams = _read("remote_stream", remote_stream, user, allow_insecure)
    if blobs is not None and streams is not None:
        _check_pair(blobs, streams)
    return blobs if blobs is None else str(blobs), streams if streams is None else str(streams)


def _check_pair(blobs: ServerURL, streams: ServerURL) -> None:
    """Both are sent the token."""
    if streams.host.removesuffix(".") != blobs.host.removesuffix("."):
        raise ValueError(f"remote_stream must be at the host of remote, {blobs.host}")
    if blobs.scheme == "https" and streams.scheme != "https":
        raise ValueError("remote_stream must be https, as remote is")


def _read(argument: str, value: object, user: str, allow_insecure: bool) -> ServerURL | None:
    if value is None or value == "":
        return None
    url = read_url(argument, value, user)
    if not (url.is_private or allow_insecure):
        raise ValueError(
            f"{argument}: http to {url.host} would show the token to whoever listens on the way; "
            "use https, or allow it with allow_insecure=True (--insecure)"
        )
    return url


def read_url(argument: str, value: object, user: str) -> ServerURL:
    """
    Read a base URL.

    :param argument: the argument's name, for the message.
    :raise TypeError: it is not a ``str``.
    :raise ValueError: it is not an http or https URL with a host, or it has a user, a query
        or a fragment, or its host can be none.
    """
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be a str, not {type(value).__name__}")
    parts = _split(value)
    place = _NETLOC.fullmatch(parts.netloc) if parts else None
    port = int(place["port"] or 0) if place else 0
    if parts is None or place is None or port > 0xFFFF or (place["port"] and not port):
        raise ValueError(
            f"{argument} must be an http or https URL with a host, and without a password, "
            "a query or a fragment"
        )
    try:
        host = _read_host(place["host"])
    except ValueError as error:
        raise ValueError(
            f"{argument}: {place['host']!r} is neither a host's name nor an IP address"
        ) from error
    return ServerURL(parts.scheme, host, port or None, _read_path(parts.path, user))


def _split(value: str) -> SplitResult | None:
    # Splitting a URL silently drops line ends and tabs.
    if re.search(r"[\x00-\x20\x7f?#\\]", value):
        return None
    try:
        parts = urlsplit(value)
    except ValueError:
        return None
    return parts if parts.scheme in ("http", "https") else None


def _read_host(text: str) -> str:
    """
    Read a host's name, or an IP address.

    Names with ``_`` are no names by any standard, and are used all the same. What ends with a
    number is an address, or else resolvers take it for one: ``127.1``, ``0x7f000001``.

    :raise ValueError: it is none.
    """
    if text.startswith("["):
        return str(ipaddress.IPv6Address(text[1:-1]))
    name = (text if text.isascii() else idna.encode(text, uts46=True).decode("ascii")).lower()
    bare = name.removesuffix(".")
    labels = bare.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return str(ipaddress.IPv4Address(bare))
    if len(bare) > _LONGEST_NAME or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError("not a name")
    return name


def _read_path(path: str, user: str) -> str:
    """Leave out the user at its end, who is going to be added: Soledad took both."""
    above, slash, last = path.rpartition("/")
    return quote(above + slash if last == user else path, safe=_PATH_CHARACTERS)
