"""Lists of blobs: how they are asked for, and how many there are; and lists of namespaces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..model import DEFAULT_NAMESPACE as DEFAULT_NAMESPACE
from ..model import Flags, is_name
from .messages import ProtocolError, is_true, read_json
from .urls import Query

TRUE = "True"
"""How a truthy query field is written."""

ORDERS = ("date", "+date", "-date")
"""The values of the query field ``order_by``."""


@dataclass(frozen=True)
class ListQuery:
    """
    What a list is asked for.

    :ivar namespace: empty for the default one.
    :ivar order_by: one of :data:`ORDERS`, or None for the order of the ids.
    :ivar deleted: list tombstones instead of blobs.
    :ivar flag: only blobs that carry this flag.
    :ivar only_count: answer their number instead.
    """

    namespace: str = ""
    order_by: str | None = None
    deleted: bool = False
    flag: Flags | None = None
    only_count: bool = False

    def fields(self) -> Query:
        """Write it as query fields."""
        return {
            "namespace": self.namespace,
            "order_by": self.order_by or "",
            "deleted": TRUE if self.deleted else "",
            "filter_flag": self.flag.value if self.flag else "",
            "only_count": TRUE if self.only_count else "",
        }

    @classmethod
    def from_fields(cls, fields: Query) -> ListQuery:
        """
        Read it from query fields; fields that are not known are ignored.

        :raise ProtocolError: a field has a value that it can't have.
        """
        order_by = fields.get("order_by") or None
        if order_by is not None:
            # An unescaped "+" in a query is a space.
            order_by = order_by.replace(" ", "+", 1)
            if order_by not in ORDERS:
                raise ProtocolError(f"order_by must be one of {', '.join(ORDERS)}")
        flag = fields.get("filter_flag") or None
        if flag is not None and flag not in Flags.__members__:
            raise ProtocolError(f"filter_flag must be one of {', '.join(Flags.__members__)}")
        return cls(
            namespace=fields.get("namespace", ""),
            order_by=order_by,
            deleted=is_true(fields.get("deleted")),
            flag=Flags(flag) if flag else None,
            only_count=is_true(fields.get("only_count")),
        )


def check_order(order_by: str | None) -> str | None:
    """
    Check the order of a list.

    :return: the order; None if it is empty.
    :raise ValueError: it is neither one of :data:`ORDERS` nor empty.
    """
    if order_by is None or order_by == "":
        return None
    if order_by in ORDERS:
        return order_by
    raise ValueError(f"order_by must be one of {', '.join(ORDERS)}, not {order_by!r}")


def read_count(body: bytes) -> dict[str, int]:
    """
    Read the answer to a count.

    :raise ProtocolError: it is not ``{"count": N}``.
    """
    answer = read_json(body)
    count = answer.get("count") if isinstance(answer, dict) else None
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise ProtocolError('not {"count": N}')
    return {"count": count}


def write_namespaces(counts: Mapping[str, int]) -> bytes:
    """
    Write some entries of an answer to ``namespaces``; between two such parts belongs a comma.

    :param counts: how many blobs each has, by the name that it has on the server.
    """
    # Names have no character that JSON would escape.
    return ", ".join(f'"{name}": {count}' for name, count in counts.items()).encode("ascii")


def read_namespaces(body: bytes) -> dict[str, int]:
    """
    Read the answer to ``namespaces``.

    :return: how many blobs each has; the default one is ``''``.
    :raise ProtocolError: it is not ``{"namespaces": {NAME: N, ...}}``.
    """
    answer = read_json(body)
    counts = answer.get("namespaces") if isinstance(answer, dict) else None
    if not isinstance(counts, dict):
        raise ProtocolError('not {"namespaces": {NAME: N, ...}}')
    for name, count in counts.items():
        if not is_name(name) or not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise ProtocolError(f"not a namespace and a number: {name!r:.40}: {count!r:.40}")
    return {"" if name == DEFAULT_NAMESPACE else name: it for name, it in counts.items()}
