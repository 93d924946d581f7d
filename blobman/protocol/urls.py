"""Where requests go: base URLs, lists, blobs and streams."""

from __future__ import annotations

import re
from urllib.parse import quote, urlencode, urlsplit

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


def check_base_url(argument: str, value: object) -> str:
    """
    Check a base URL.

    :raise TypeError: it is not a ``str``.
    :raise ValueError: it is not an http or https URL with a host, or it has a user, a query
        or a fragment. The message does not show it: a password may be in it.
    """
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be a str, not {type(value).__name__}")
    if not _is_base_url(value):
        raise ValueError(
            f"{argument} must be an http or https URL with a host, and without a password, "
            "a query or a fragment"
        )
    return value


def _is_base_url(value: str) -> bool:
    # Splitting a URL silently drops line ends and tabs.
    if re.search(r"[\x00-\x20\x7f?#\\]", value):
        return False
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return False
    has_place = bool(parts.hostname) and port != 0 and "@" not in parts.netloc
    return parts.scheme in ("http", "https") and has_place
