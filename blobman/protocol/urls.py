"""Where requests go: base URLs, lists, blobs and streams."""

from __future__ import annotations

from urllib.parse import quote, urlencode

Query = dict[str, str]


def blob_url(base: str, user: str, blob_id: str = "", query: Query | None = None) -> str:
    """
    Make the URL of a user's list, or of one blob.

    :param base: the base URL, with or without a slash at its end.
    :param query: the query fields; empty values are left out.
    """
    fields = urlencode({name: value for name, value in (query or {}).items() if value})
    url = f"{base.rstrip('/')}/{quote(user, safe='')}/{quote(blob_id, safe='')}"
    return f"{url}?{fields}" if fields else url


def stream_url(base: str, user: str, direction: str, namespace: str = "") -> str:
    """
    Make the URL of a stream.

    :param direction: ``upload`` or ``download``.
    """
    fields = {"direction": direction, **({"namespace": namespace} if namespace else {})}
    return f"{base.rstrip('/')}/{quote(user, safe='')}?{urlencode(fields)}"
