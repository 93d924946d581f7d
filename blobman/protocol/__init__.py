"""
The blobs HTTP protocol without I/O: what client and server have to agree on.

- ``urls``: where requests go;
- ``authorization``: who asks;
- ``headers``: tags, ranges, and when to come back;
- ``lists``, ``ids`` and ``flags``: bodies of JSON;
- ``changes`` and ``cursors``: what has changed since when;
- ``objects``: answers that an older server gives a list for;
- ``streams``: many blobs in one body;
- ``answers``: which answers are a server's, and which error each is;
- ``messages`` and ``sizes``: what all of them share.

The whole protocol is written down for a second implementer in ``docs/protocol.md``.
"""

from __future__ import annotations

from .answers import (
    ANSWER_HEADER,
    DONE,
    REFUSALS,
    REFUSED,
    Answer,
    Refused,
    Subject,
    answer_error,
    may_pass,
    strange_answer,
    what_came,
)
from .authorization import read_authorization, write_authorization
from .changes import (
    DEFAULT_CHANGES,
    MAX_CHANGES,
    MAX_CHANGES_SIZE,
    MAX_WAIT,
    PAGE_HEAD,
    ChangesQuery,
    read_page,
    write_changes,
    write_page,
    write_page_end,
)
from .cursors import MAX_CURSOR_SIZE, Cursor
from .flags import check_flag, read_flags, write_flags
from .headers import read_range, read_retry_after, read_tag, write_tag
from .ids import MAX_IDS, MAX_LIST_SIZE, IdsReader, read_ids, write_ids
from .lists import (
    DEFAULT_NAMESPACE,
    ORDERS,
    TRUE,
    ListQuery,
    check_order,
    read_count,
    read_namespaces,
    write_namespaces,
)
from .messages import ProtocolError, is_true, read_json
from .objects import ObjectReader
from .sizes import MAX_SEALED_SIZE, MIN_SEALED_SIZE, PREAMBLE_SIZES, TAG_SIZE, TAG_TEXT_SIZE
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
from .urls import Query, blob_url, stream_url

__all__ = [
    "ANSWER_HEADER",
    "DEFAULT_CHANGES",
    "DEFAULT_NAMESPACE",
    "DONE",
    "FRAME_HEADER_SIZE",
    "MAX_CHANGES",
    "MAX_CHANGES_SIZE",
    "MAX_CURSOR_SIZE",
    "MAX_FRAME_SIZE",
    "MAX_IDS",
    "MAX_LIST_SIZE",
    "MAX_SEALED_SIZE",
    "MAX_WAIT",
    "MIN_SEALED_SIZE",
    "NOT_THERE",
    "ORDERS",
    "PAGE_HEAD",
    "PREAMBLE_SIZES",
    "REFUSALS",
    "REFUSED",
    "STREAM_RESULTS",
    "TAG_SIZE",
    "TAG_TEXT_SIZE",
    "TRUE",
    "Answer",
    "ChangesQuery",
    "Cursor",
    "IdsReader",
    "ListQuery",
    "ObjectReader",
    "ProtocolError",
    "Query",
    "Refused",
    "Subject",
    "answer_error",
    "blob_url",
    "check_flag",
    "check_order",
    "is_true",
    "may_pass",
    "read_authorization",
    "read_count",
    "read_flags",
    "read_frame_header",
    "read_ids",
    "read_json",
    "read_manifest",
    "read_namespaces",
    "read_page",
    "read_range",
    "read_results",
    "read_retry_after",
    "read_tag",
    "strange_answer",
    "stream_url",
    "what_came",
    "write_authorization",
    "write_changes",
    "write_flags",
    "write_frame_header",
    "write_ids",
    "write_manifest",
    "write_namespaces",
    "write_page",
    "write_page_end",
    "write_results",
    "write_tag",
]
