"""
Sealing a blob piece by piece: cleartext in, sealed bytes out, in constant memory.

A sealed blob is ``BASE64URL(preamble) SPACE ciphertext tag``: AES-256-GCM under a key of
that blob's own, with the preamble's IV, and the raw preamble as additional authenticated
data. The format is written down in ``docs/protocol.md``.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import AEADEncryptionContext, Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM

from ..errors import InvalidBlob
from .keys import blob_key
from .preamble import PREAMBLE_TEXT_SIZE, SEALED_BY_US, Preamble
from .sizes import check_content_size, padded_size
from .wrapping import SEPARATOR, TAG_SIZE, Octets, Wrapping, update_in_pieces

__all__ = ["SEALED_OVERHEAD", "Sealer", "sealed_size"]

SEALED_OVERHEAD = PREAMBLE_TEXT_SIZE + len(SEPARATOR) + TAG_SIZE
"""How many bytes longer than its cleartext a sealed blob is: 753."""


def sealed_size(size: int) -> int:
    """
    Say how long a sealed blob is, in bytes.

    :param size: the size of its cleartext in bytes.
    :raise TypeError: it is not an ``int``.
    :raise ValueError: it is negative, or more than AES-GCM can seal.
    """
    return check_content_size(size) + SEALED_OVERHEAD


class Sealer(Wrapping):
    """
    Seals one blob: :meth:`header`, then :meth:`update` for all of its content, then
    :meth:`finalize` give the sealed blob, one part after another.

    :ivar preamble: its preamble.
    :ivar size: the size of the cleartext in bytes.
    :ivar sealed_size: the size of the sealed blob in bytes.
    """

    def __init__(self, secret: bytes, preamble: bytes, size: int) -> None:
        """
        :param secret: what :func:`check_secret` gave.
        :param preamble: the raw preamble, as stored with the blob. With the same content it
            gives the same bytes; with another one it would give both away.
        :param size: how many bytes of content will come.
        :raise TypeError: the secret is neither ``bytes`` nor ``str``, or the size not an ``int``.
        :raise ValueError: the secret is too short, the size can't be sealed, or the preamble
            is not that of a blob of this size that is ours to seal. A legacy one is taken: with
            the content that it came with, it gives the bytes that it came in.
        """
        super().__init__(preamble, size, trailer_size=TAG_SIZE)
        self.preamble = _check_sealable(preamble, size)
        self._raw = preamble
        self._key = blob_key(secret, self.preamble.blob_id)
        self._encryptor: AEADEncryptionContext | None = None
        self._tag = b""

    def _begun(self) -> AEADEncryptionContext:
        if self._encryptor is None:
            self._encryptor = Cipher(AES(self._key), GCM(self.preamble.iv)).encryptor()
            self._encryptor.authenticate_additional_data(self._raw)
        return self._encryptor

    def seal(self, content: Octets) -> bytearray:
        """
        Seal all of the content at once.

        :return: what follows the header, to the end of the blob.
        :raise ValueError: it is not as long as announced, or the blob has been begun.
        """
        if self._missing < self.size:
            raise ValueError("the blob has been begun")
        self._check_room(len(content))
        self._missing -= len(content)
        sealed = bytearray(self.size + TAG_SIZE)
        update_in_pieces(self._begun(), content, sealed)
        sealed[self.size :] = self.finalize()
        return sealed

    def update(self, data: Octets) -> bytes:
        """
        Seal the next bytes of the content.

        :return: as many bytes.
        :raise ValueError: there are more than announced, or the blob has ended. Nothing was
            sealed.
        """
        self._check_room(len(data))
        sealed = self._begun().update(data)
        self._missing -= len(sealed)
        return sealed

    def update_into(self, data: Octets, buffer: bytearray | memoryview) -> int:
        """
        Seal the next bytes of the content into a buffer, which can be used again.

        :param buffer: at least as long as ``data``, and none of the same memory.
        :return: how many bytes were written: the length of ``data``.
        :raise ValueError: there are more than announced, the blob has ended, or the buffer
            is too small. Nothing was sealed.
        """
        self._check_room(len(data))
        length = self._begun().update_into(data, buffer)
        self._missing -= length
        return length

    def finalize(self) -> bytes:
        """
        End the blob.

        :return: the tag, :data:`TAG_SIZE` bytes, which comes last.
        :raise ValueError: content is missing, or the blob has ended already.
        """
        self._end()
        encryptor = self._begun()
        encryptor.finalize()
        self._tag = encryptor.tag
        return self._tag

    @property
    def tag(self) -> bytes:
        """The tag, once the blob has ended; empty before."""
        return self._tag


def _check_sealable(raw: bytes, size: int) -> Preamble:
    try:
        preamble = Preamble.decode(raw)
    except InvalidBlob as error:
        raise ValueError(f"preamble can't be read: {error}") from error
    if preamble.kind != SEALED_BY_US:
        raise ValueError("preamble is not that of a blob that is ours to seal")
    if preamble.content_size not in (None, padded_size(size)):
        raise ValueError(f"preamble is not that of a blob of {size} bytes")
    return preamble
