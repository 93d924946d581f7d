"""
The blobs HTTP protocol without I/O: what client and server have to agree on.

- ``urls``: where requests go;
- ``authorization``: who asks;
- ``headers``: tags, ranges, and when to come back;
- ``lists`` and ``flags``: bodies of JSON;
- ``streams``: many blobs in one body;
- ``answers``: which answer is which error;
- ``messages`` and ``sizes``: what all of them share.

The whole protocol is written down for a second implementer in ``docs/protocol.md``.
"""

from __future__ import annotations

from .answers import RETRIABLE_STATUSES, answer_error
from .authorization import read_authorization, write_authorization
from .flags import check_flag, read_flags, write_flags
from .headers import read_range, read_retry_after, read_tag, write_tag
from .lists import (
    DEFAULT_NAMESPACE,
    ORDERS,
    TRUE,
    ListQuery,
    check_order,
    read_count,
    read_ids,
    write_ids,
)
from .messages import ProtocolError, is_true, read_json
from .sizes import MIN_SEALED_SIZE, PREAMBLE_SIZES, TAG_SIZE, TAG_TEXT_SIZE
from .streams import (
    FRAME_HEADER_SIZE,
    MAX_FRAME_SIZE,
    NOT_THERE,
    STREAM_RESULTS,
    read_frame_header,
    read_manifest,
    read_results,
    write_frame_header,
    write_manifest,
    write_results,
)
from .urls import Query, blob_url, check_base_url, stream_url

__all__ = [
    "DEFAULT_NAMESPACE",
    "FRAME_HEADER_SIZE",
    "MAX_FRAME_SIZE",
    "MIN_SEALED_SIZE",
    "NOT_THERE",
    "ORDERS",
    "PREAMBLE_SIZES",
    "RETRIABLE_STATUSES",
    "STREAM_RESULTS",
    "TAG_SIZE",
    "TAG_TEXT_SIZE",
    "TRUE",
    "ListQuery",
    "ProtocolError",
    "Query",
    "answer_error",
    "blob_url",
    "check_base_url",
    "check_flag",
    "check_order",
    "is_true",
    "read_authorization",
    "read_count",
    "read_flags",
    "read_frame_header",
    "read_ids",
    "read_json",
    "read_manifest",
    "read_range",
    "read_results",
    "read_retry_after",
    "read_tag",
    "stream_url",
    "write_authorization",
    "write_flags",
    "write_frame_header",
    "write_ids",
    "write_manifest",
    "write_results",
    "write_tag",
]
