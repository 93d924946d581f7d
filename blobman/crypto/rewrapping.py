"""
Giving a server back what it lost, as it was: for the blobs that others sealed, too.
"""

from __future__ import annotations

from ..errors import InvalidBlob
from .preamble import DELIVERED, Preamble, Scheme
from .sealing import Sealer
from .wrapping import TAG_SIZE, Octets, Wrapping

__all__ = ["Rewrapper", "make_sealer"]


class Rewrapper(Wrapping):
    """
    Gives a blob that others sealed as it was delivered: it has been kept without its preamble.
    Used like a :class:`Sealer`.

    :ivar size: the size of what follows the preamble in bytes.
    :ivar sealed_size: the size of the whole in bytes.
    """

    def __init__(self, preamble: bytes, size: int) -> None:
        """
        :param preamble: the raw preamble that it was delivered with.
        :param size: how many bytes of content will come.
        :raise TypeError: the size is not an ``int``.
        :raise ValueError: the size is negative, or more than an :class:`Opener` would take.
        """
        super().__init__(preamble, size, trailer_size=0)
        self._last = self._header[-TAG_SIZE:]

    def seal(self, content: Octets) -> bytes | bytearray:
        """
        Give all of the content as it is; see :meth:`Sealer.seal`.

        :raise ValueError: it is not as long as announced, or the blob has been begun.
        """
        if self._missing < self.size:
            raise ValueError("the blob has been begun")
        return self.update(content) + self.finalize()

    def update(self, data: Octets) -> bytes:
        """
        Give the next bytes as they are.

        :raise ValueError: there are more than announced, or the blob has ended.
        """
        self._check_room(len(data))
        piece = bytes(data)
        self._missing -= len(piece)
        self._last = (self._last + piece[-TAG_SIZE:])[-TAG_SIZE:]
        return piece

    def finalize(self) -> bytes:
        """
        End the blob.

        :return: nothing, for all that there is has come.
        :raise ValueError: content is missing, or the blob has ended already.
        """
        self._end()
        return b""

    @property
    def tag(self) -> bytes:
        """What a server takes for its tag: the last :data:`TAG_SIZE` bytes so far."""
        return self._last


def make_sealer(secret: bytes, preamble: bytes, size: int) -> Sealer | Rewrapper:
    """
    Make what turns the stored content of a blob into what the server has, or is to have, of it.

    :param secret: what :func:`check_secret` gave.
    :param preamble: the raw preamble stored with it.
    :param size: the size of the content in bytes.
    :raise TypeError: as :class:`Sealer` does.
    :raise ValueError: as :class:`Sealer` does.
    """
    # A look at the byte behind the magic spares most blobs the decoding, which Sealer does again.
    if preamble[2:3] == bytes([Scheme.EXTERNAL]) and _is_delivered(preamble):
        return Rewrapper(preamble, size)
    return Sealer(secret, preamble, size)


def _is_delivered(preamble: bytes) -> bool:
    try:
        return Preamble.decode(preamble).kind == DELIVERED
    except InvalidBlob:
        return False
