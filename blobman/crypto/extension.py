"""
What a preamble says beyond Soledad's fields: where its blob belongs.

It stands behind the revision, where Soledad writes zeros, and does not look: a version, the epoch
of the secret, and the binding.
"""

from __future__ import annotations

import struct

from ..errors import InvalidBlob

__all__ = ["BINDING_SIZE", "read_extension", "write_extension"]

BINDING_SIZE = 16
"""Bytes of what says where a blob belongs."""

_FIELDS = struct.Struct(f"<BI{BINDING_SIZE}s")
_NONE, _BOUND = 0, 1
_ONLY_EPOCH = 0


def write_extension(binding: bytes) -> bytes:
    """
    Write an extension.

    :param binding: says where the blob belongs, in :data:`BINDING_SIZE` bytes.
    """
    return _FIELDS.pack(_BOUND, _ONLY_EPOCH, binding)


def read_extension(raw: bytes, offset: int) -> bytes | None:
    """
    Read an extension. What follows it is not looked at.

    :param raw: the preamble.
    :param offset: where it begins.
    :return: the binding; None if there is no extension.
    :raise InvalidBlob: it is one that is not known.
    """
    version, epoch, binding = _FIELDS.unpack_from(raw, offset)
    if version == _NONE:
        return None
    if version != _BOUND:
        raise InvalidBlob(f"its preamble has an extension of version {version}, which is not known")
    if epoch != _ONLY_EPOCH:
        raise InvalidBlob(f"it was sealed with the secret of epoch {epoch}, which is not known")
    assert isinstance(binding, bytes)
    return binding
