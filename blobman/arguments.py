"""What an application may pass to a manager."""

from __future__ import annotations

import math

from .document import BlobDoc
from .model import BlobKey, SyncStatus, check_key, check_size


def check_doc(doc: BlobDoc, size: int, namespace: str) -> BlobKey:
    """
    Check what is to be put.

    :raise TypeError: or ``ValueError``: something is wrong.
    """
    if not getattr(doc, "is_blob", False):
        raise TypeError(f"doc must be a BlobDoc, not {type(doc).__name__}")
    check_size(size)
    return check_key(doc.blob_id, namespace)


def check_status(status: SyncStatus | int) -> SyncStatus:
    """
    Check a status.

    :raise TypeError: or ``ValueError``: it is none.
    """
    if not isinstance(status, int) or isinstance(status, bool):
        raise TypeError(f"status must be a SyncStatus, not {type(status).__name__}")
    try:
        return SyncStatus(status)
    except ValueError:
        raise ValueError(f"status must be a SyncStatus (1 to 7), not {status}") from None


def check_token(token: object) -> None:
    """
    Check a token.

    :raise TypeError: it is neither a ``str`` nor None.
    """
    if not isinstance(token, (str, type(None))):
        raise TypeError(f"token must be a str, not {type(token).__name__}")


def check_rate(rate: object) -> float | None:
    """
    Check a limit in bytes per second.

    :raise TypeError: it is neither a number nor None.
    :raise ValueError: it is not above 0, or has no end.
    """
    if rate is None:
        return None
    if not isinstance(rate, (int, float)) or isinstance(rate, bool):
        raise TypeError(
            f"limit_rate must be a number of bytes per second, not {type(rate).__name__}"
        )
    if not (rate > 0 and math.isfinite(rate)):
        raise ValueError(f"limit_rate must be above 0, not {rate}; None means no limit")
    return rate
