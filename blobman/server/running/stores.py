"""
Stores of payloads as they are named on a command line: the only place that knows their URLs.

- a folder;
- ``s3://BUCKET/PREFIX?endpoint=URL&region=NAME``: a place in a bucket of an object store. Needs
  ``blobman[scale]``. Without an endpoint it is Amazon's. More fields: ``ca=FILE``, with the only
  authorities to trust, and ``addressing=virtual``, if the bucket's name goes before the host's.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from ..storage.payloads.folder import FolderPayloads
from ..storage.payloads.interface import IPayloads

if TYPE_CHECKING:
    from ..storage.payloads.s3 import Bucket

FORMS = "a folder, or s3://BUCKET/PREFIX?endpoint=URL&region=NAME"
"""What a store of payloads is called."""

_FIELDS = {"endpoint", "region", "addressing", "ca"}
_ADDRESSING = {"path": False, "virtual": True}

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_REGION = re.compile(r"[A-Za-z0-9-]+")
_UNSEEN = re.compile(r"[\x00-\x20\x7f]")


class Store(Protocol):
    """
    A store of payloads.

    :ivar shown: what to call it.
    """

    shown: str

    def make(self, reactor: Any) -> IPayloads:
        """Make it, apart from a catalogue. Raise ``ValueError`` if a file of it can't be read."""
        ...


class FolderStore:
    """
    Payloads in a folder.

    :param data: the folder.
    """

    def __init__(self, data: str) -> None:
        self.data = os.path.abspath(data)
        self.shown = data

    def make(self, reactor: Any) -> IPayloads:
        """Make it; see :class:`Store`."""
        return FolderPayloads(self.data, reactor, is_apart=True)


class BucketStore:
    """
    Payloads in a bucket.

    :param url: the bucket's, ``s3://...``.
    :raise ValueError: it is none, or ``blobman[scale]`` is not installed.
    """

    def __init__(self, url: str) -> None:
        self.bucket = read_url(url)
        self.shown = str(self.bucket)

    def make(self, reactor: Any) -> IPayloads:
        """Make it; see :class:`Store`."""
        from ..storage.payloads.s3 import S3Payloads

        try:
            return S3Payloads(self.bucket, reactor)
        except OSError as error:
            raise ValueError(f"ca {self.bucket.ca}: {error.strerror}") from error


def store_of(payloads: str) -> FolderStore | BucketStore:
    """
    Find a store of payloads.

    :param payloads: its URL, or a folder.
    :raise ValueError: it is no such URL. What is said does not show what may be a password.
    """
    if payloads.lower().startswith("s3:"):
        return BucketStore(payloads)
    scheme, colon, _ = payloads.partition("://")
    if not payloads or (colon and os.sep not in scheme):
        raise ValueError(f"a store of payloads must be {FORMS}")
    return FolderStore(payloads)


def read_url(url: str) -> Bucket:
    """
    Read the URL of a place in a bucket.

    :raise ValueError: it is none, or ``blobman[scale]`` is not installed.
    """
    try:
        from ..storage.payloads.s3 import Bucket, default_region
    except ImportError as error:
        raise ValueError("payloads in S3 need more: pip install 'blobman[scale]'") from error
    parts = _split(url, "s3", f"a store of payloads must be {FORMS}")
    if not _BUCKET.fullmatch(parts.netloc):
        raise ValueError("s3:// needs the name of a bucket, and nothing else before its prefix")
    fields = _read_fields(parts.query)
    region = fields.get("region") or default_region() or "us-east-1"
    if not _REGION.fullmatch(region):
        raise ValueError("region must be the name of a region, such as eu-central-1")
    prefix = unquote(parts.path).strip("/")
    endpoint, is_in_host = _endpoint(fields, region, parts.netloc)
    return Bucket(
        parts.netloc,
        prefix and f"{prefix}/",
        endpoint.scheme,
        endpoint.netloc,
        region,
        is_in_host,
        fields.get("ca"),
    )


def _split(url: str, schemes: str, otherwise: str) -> SplitResult:
    with suppress(ValueError):
        parts = urlsplit(url)
        # Splitting a URL silently drops line ends and tabs.
        is_whole = not _UNSEEN.search(url)
        # Reading a port raises ValueError if it is none.
        if is_whole and parts.scheme in schemes.split() and parts.port != 0 and not parts.fragment:
            return parts
    raise ValueError(otherwise)


def _read_fields(query: str) -> dict[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    fields = dict(pairs)
    for name, value in pairs:
        if name not in _FIELDS or not value or fields[name] != value:
            known = ", ".join(sorted(_FIELDS))
            raise ValueError(f"s3:// takes {known}, each once and with a value, not {name!r}")
    return fields


def _endpoint(fields: dict[str, str], region: str, bucket: str) -> tuple[SplitResult, bool]:
    """Give the endpoint, and whether the bucket's name goes before its host's."""
    given = (
        fields.get("endpoint")
        or os.environ.get("AWS_ENDPOINT_URL_S3")
        or os.environ.get("AWS_ENDPOINT_URL")
    )
    addressing = fields.get("addressing", "path" if given or "." in bucket else "virtual")
    if addressing not in _ADDRESSING:
        raise ValueError("addressing must be path or virtual")
    wrong = "endpoint must be an http or https URL with a host, and nothing else"
    parts = _split(given or f"https://s3.{region}.amazonaws.com", "http https", wrong)
    if not _HOST.fullmatch(parts.netloc) or parts.path not in ("", "/") or parts.query:
        raise ValueError(wrong)
    return parts, _ADDRESSING[addressing]
