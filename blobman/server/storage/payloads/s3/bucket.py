"""Where payloads are in an object store: :class:`Bucket`."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlencode

Query = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Bucket:
    """
    A bucket, and a place in it.

    :ivar name: the bucket's.
    :ivar prefix: what all keys begin with; empty, or it ends with a slash.
    :ivar scheme: ``http`` or ``https``.
    :ivar host: the host of the endpoint, and the port if it has one.
    :ivar region: what requests are signed for.
    :ivar is_in_host: whether the bucket's name is a part of the host's, instead of the path.
    :ivar ca: a PEM file of the only authorities to trust; None for those of the platform.
    """

    name: str
    prefix: str
    scheme: str
    host: str
    region: str
    is_in_host: bool = False
    ca: str | None = None

    @property
    def is_private(self) -> bool:
        """Whether requests go over TLS."""
        return self.scheme == "https"

    def __str__(self) -> str:
        return f"s3://{self.name}/{self.prefix}"

    def url(self, name: str | None, query: Query = ()) -> str:
        """
        Give the URL of an object, or of the bucket.

        :param name: the object's, without the prefix; None for the bucket.
        """
        host = f"{self.name}.{self.host}" if self.is_in_host else self.host
        parts = [] if self.is_in_host else [self.name]
        if name is not None:
            parts.append(self.prefix + name)
        path = quote("/".join(parts), safe="/~")
        # With signatures, a space is never "+".
        text = urlencode(query, quote_via=quote, safe="~")
        return f"{self.scheme}://{host}/{path}{'?' if text else ''}{text}"
