"""Answers of JSON objects, which a server that does not know the question answers with a list."""

from __future__ import annotations

from .ids import IdsReader
from .messages import ProtocolError


class ObjectReader:
    """
    Reads an answer that begins as an object, or else a list of ids: what servers answer who
    ignore the query fields that were sent.

    :param max_size: bytes of the longest object; a list may be as long as lists are.
    """

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._body = bytearray()
        self._list: IdsReader | None = None

    def feed(self, data: bytes) -> None:
        """
        Take the next bytes.

        :raise ProtocolError: it is too long, or neither an object nor a list of ids.
        """
        if not self._body and self._list is None:
            data = data.lstrip(b" \t\r\n")
            if data.startswith(b"["):
                self._list = IdsReader()
        if self._list is not None:
            self._list.feed(data)
            return
        self._body += data
        if len(self._body) > self._max_size:
            raise ProtocolError(f"the answer is longer than {self._max_size} bytes")

    def finish(self) -> bytes | list[str]:
        """
        Give what has come.

        :return: the bytes of what is no list, or the ids of a list.
        :raise ProtocolError: a list has not ended.
        """
        return bytes(self._body) if self._list is None else self._list.finish()
