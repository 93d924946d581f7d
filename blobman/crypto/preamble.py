"""
What stands before the ciphertext of a sealed blob: which blob it is, and how it was sealed.

The format is Soledad's, byte for byte, and is written down in ``docs/protocol.md``:
552 bytes, which travel as 736 characters of URL-safe base64. A *legacy* preamble
lacks the last field (542 bytes, 724 characters); it is read, and never written.

Behind :data:`IMMUTABLE_REV` there is room that Soledad leaves empty, does not look at, and
authenticates. A blob that says where it belongs has its binding there; see :mod:`.seals`.

A preamble has exactly one form: what decodes also encodes to the same bytes.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

from ..errors import InvalidBlob
from ..model import MAX_NAME_LENGTH, check_name
from .extension import BINDING_SIZE, read_extension, write_extension
from .sizes import check_content_size, padded_size

__all__ = [
    "DELIVERED",
    "IMMUTABLE_REV",
    "INCOMING_REV",
    "IV_SIZE",
    "LEGACY_PREAMBLE_SIZE",
    "LEGACY_PREAMBLE_TEXT_SIZE",
    "PREAMBLE_SIZE",
    "PREAMBLE_TEXT_SIZE",
    "SEALED_BY_US",
    "Method",
    "Preamble",
    "Scheme",
    "is_bound_to",
    "read_preamble_text",
    "write_preamble_text",
]

MAGIC = b"\x13\x37"
"""The first two bytes of every preamble."""

IV_SIZE = 16
"""Bytes of an initialization vector."""

IMMUTABLE_REV = "ImmutableRevision"
"""The revision of every blob that blobman or Soledad seals: blobs do not change."""

INCOMING_REV = "0"
"""The revision of what a server wraps for delivery (scheme ``EXTERNAL``)."""

# Explicitly little-endian, with the padding that x86-64 puts in: the same bytes everywhere.
_LEGACY = struct.Struct("<2sbb4xQ16s255p255p")
_CONTENT_SIZE = struct.Struct("<2xQ")
_LARGEST_NUMBER = 2**64 - 1

# Where there is room for an extension: behind the revision.
_EXTENSION_AT = _LEGACY.size - 255 + 1 + len(IMMUTABLE_REV)

LEGACY_PREAMBLE_SIZE = _LEGACY.size
"""Bytes of a legacy preamble: 542."""

PREAMBLE_SIZE = _LEGACY.size + _CONTENT_SIZE.size
"""Bytes of a preamble: 552."""

LEGACY_PREAMBLE_TEXT_SIZE = 724
"""Characters of a legacy preamble as URL-safe base64, padded."""

PREAMBLE_TEXT_SIZE = 736
"""Characters of a preamble as URL-safe base64."""


class Scheme(IntEnum):
    """Who sealed it: we, with a key derived from the secret, or somebody else."""

    SYMKEY = 1
    EXTERNAL = 2


class Method(IntEnum):
    """With what it was sealed. ``AES_256_CTR`` is a method that Soledad gave up."""

    AES_256_CTR = 1
    AES_256_GCM = 2
    PGP = 3


SEALED_BY_US = (Scheme.SYMKEY, Method.AES_256_GCM, IMMUTABLE_REV)
"""The kind of a blob that was sealed with our secret."""

DELIVERED = (Scheme.EXTERNAL, Method.PGP, INCOMING_REV)
"""The kind of a blob that others sealed, as a server wraps it for delivery."""

_Enum = TypeVar("_Enum", Scheme, Method)
_SCHEMES = {int(scheme): scheme for scheme in Scheme}
_METHODS = {int(method): method for method in Method}


@dataclass(frozen=True)
class Preamble:
    """
    A preamble, taken apart.

    :ivar timestamp: when it was sealed, in whole seconds since the epoch.
    :ivar iv: the initialization vector, :data:`IV_SIZE` bytes.
    :ivar blob_id: at most 254 ASCII characters.
    :ivar rev: :data:`IMMUTABLE_REV` or :data:`INCOMING_REV`.
    :ivar content_size: what it says about the size, in bytes (:func:`padded_size` of the
        cleartext's, if we sealed it); None in a legacy preamble.
    :ivar binding: says to whom and to which namespace it belongs, in :data:`BINDING_SIZE` bytes;
        None if that is not said. Only with :data:`IMMUTABLE_REV`.
    :raise ValueError: a value does not fit its field.
    """

    scheme: Scheme
    method: Method
    timestamp: int
    iv: bytes
    blob_id: str
    rev: str
    content_size: int | None
    binding: bytes | None = None

    def __post_init__(self) -> None:
        _check_text("blob_id", self.blob_id)
        _check_text("rev", self.rev)
        _check_number("timestamp", self.timestamp)
        if self.content_size is not None:
            _check_number("content_size", self.content_size)
        if len(self.iv) != IV_SIZE:
            raise ValueError(f"iv must have {IV_SIZE} bytes, not {len(self.iv)}")
        if self.binding is not None:
            _check_binding(self.binding, self.rev)

    @classmethod
    def for_blob(
        cls,
        blob_id: str,
        size: int,
        iv: bytes,
        timestamp: float,
        binding: bytes | None = None,
    ) -> Preamble:
        """
        Make the preamble of a new blob.

        :param size: the size of the cleartext in bytes.
        :param iv: :data:`IV_SIZE` random bytes. Never twice for one blob id: that would give
            away both contents.
        :param timestamp: seconds since the epoch; a fraction is dropped.
        :param binding: where it belongs, :data:`BINDING_SIZE` bytes. Without, the preamble is
            the one that Soledad would make.
        :raise TypeError: the id is not a ``str``, or the size not an ``int``.
        :raise ValueError: the id is not a name, the size is negative or more than AES-GCM
            can seal, or the IV, the timestamp or the binding does not fit.
        """
        check_name("blob_id", blob_id)
        check_content_size(size)
        _check_number("timestamp", timestamp)
        scheme, method, rev = SEALED_BY_US
        padded = padded_size(size)
        return cls(scheme, method, int(timestamp), iv, blob_id, rev, padded, binding)

    @property
    def kind(self) -> tuple[Scheme, Method, str]:
        """Scheme, method and rev: compare with :data:`SEALED_BY_US` and :data:`DELIVERED`."""
        return self.scheme, self.method, self.rev

    def encode(self) -> bytes:
        """
        Write it as :data:`PREAMBLE_SIZE` bytes.

        :raise ValueError: it is a legacy preamble.
        """
        if self.content_size is None:
            raise ValueError("a legacy preamble is not written")
        return self._pack()

    @classmethod
    def decode(cls, raw: bytes) -> Preamble:
        """
        Read a preamble.

        :param raw: :data:`PREAMBLE_SIZE` or :data:`LEGACY_PREAMBLE_SIZE` bytes.
        :raise InvalidBlob: it is none. The message says in what, and names no blob.
        """
        is_present = len(raw) == PREAMBLE_SIZE
        if not is_present and len(raw) != LEGACY_PREAMBLE_SIZE:
            raise InvalidBlob(f"its preamble has {len(raw)} bytes instead of {PREAMBLE_SIZE}")
        magic, scheme, method, timestamp, iv, blob_id, rev = _LEGACY.unpack_from(raw)
        if magic != MAGIC:
            raise InvalidBlob(f"its preamble begins with {magic.hex()} instead of {MAGIC.hex()}")
        content_size = _CONTENT_SIZE.unpack_from(raw, _LEGACY.size)[0] if is_present else None
        revision = _text("rev", rev)
        preamble = cls(
            scheme=_member(_SCHEMES, "scheme", scheme),
            method=_member(_METHODS, "method", method),
            timestamp=timestamp,
            iv=iv,
            blob_id=_text("blob id", blob_id),
            rev=revision,
            content_size=content_size,
            binding=read_extension(raw, _EXTENSION_AT) if revision == IMMUTABLE_REV else None,
        )
        # Finds what unpacking passes over: padding, what follows a string, a length of 255.
        if preamble._pack() != raw:
            raise InvalidBlob("its preamble has bytes between its fields that are not zero")
        return preamble

    def _pack(self) -> bytes:
        leading = _LEGACY.pack(
            MAGIC,
            self.scheme,
            self.method,
            self.timestamp,
            self.iv,
            self.blob_id.encode("ascii"),
            self.rev.encode("ascii"),
        )
        if self.binding is not None:
            extension = write_extension(self.binding)
            end = _EXTENSION_AT + len(extension)
            leading = leading[:_EXTENSION_AT] + extension + leading[end:]
        if self.content_size is None:
            return leading
        return leading + _CONTENT_SIZE.pack(self.content_size)


def is_bound_to(preamble: Preamble, binding: bytes | None) -> bool:
    """
    Say whether a blob may be where it is.

    :param binding: that of the place; None if that is not known.
    :return: True also if the preamble says nothing of where it belongs.
    """
    return preamble.binding is None or preamble.binding == binding


def write_preamble_text(raw: bytes) -> bytes:
    """Put a raw preamble into the base64 that it travels as, without the space after it."""
    return base64.urlsafe_b64encode(raw)


def read_preamble_text(text: bytes) -> bytes:
    """
    Undo the base64 that a preamble travels as.

    :return: the raw preamble, to be taken apart by :meth:`Preamble.decode`.
    :raise InvalidBlob: it is not URL-safe base64, with padding and no spare bits set.
    """
    try:
        raw = base64.b64decode(text, altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise InvalidBlob("its preamble is not base64") from error
    # Decoding is lenient with the other alphabet and with spare bits.
    if base64.urlsafe_b64encode(raw) != text:
        raise InvalidBlob("its preamble is not URL-safe base64")
    return raw


def _check_text(field: str, value: str) -> None:
    """Packing would silently cut what is too long."""
    if len(value) > MAX_NAME_LENGTH or not value.isascii():
        raise ValueError(f"{field} must be at most {MAX_NAME_LENGTH} ASCII characters")


def _check_number(field: str, value: float) -> None:
    if not 0 <= value <= _LARGEST_NUMBER:
        raise ValueError(f"{field} must be from 0 to 2**64 - 1, not {value}")


def _check_binding(binding: bytes, rev: str) -> None:
    if len(binding) != BINDING_SIZE:
        raise ValueError(f"binding must have {BINDING_SIZE} bytes, not {len(binding)}")
    if rev != IMMUTABLE_REV:
        raise ValueError(f"binding needs the rev {IMMUTABLE_REV}")


def _member(members: Mapping[int, _Enum], field: str, value: int) -> _Enum:
    member = members.get(value)
    if member is None:
        raise InvalidBlob(f"its {field} is {value}, which is none")
    return member


def _text(field: str, value: bytes) -> str:
    try:
        return value.decode("ascii")
    except UnicodeDecodeError as error:
        raise InvalidBlob(f"its {field} is not ASCII") from error
