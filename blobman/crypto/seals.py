"""
What a user seals and opens blobs with, and where each blob belongs.

A seal covers the id of its blob. A *binding* in it covers the user and the namespace as well, so
that a server can't serve a blob in place of another one of that id.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from ..errors import InvalidBlob, describe
from ..model import DEFAULT_NAMESPACE, check_name, check_namespace
from .extension import BINDING_SIZE
from .keys import UNUSED_SECRET_SIZE, check_secret
from .opening import Opener
from .preamble import is_bound_to
from .rewrapping import Rewrapper, make_sealer
from .sealing import Sealer

__all__ = ["Seals"]

_KEY_LABEL = b"blobman binding key 1"
_BINDING_LABEL = b"blobman binding 1"


class Seals:
    """Seals and opens the blobs of one user."""

    def __init__(
        self, secret: str | bytes, user: str, external_namespaces: Iterable[str] = ()
    ) -> None:
        """
        :param secret: more than 64 bytes; see :func:`.check_secret`.
        :param user: the one whose blobs the server is asked for.
        :param external_namespaces: where blobs that others sealed are expected.
        :raise TypeError: the secret is neither ``bytes`` nor ``str``, or the user not a ``str``.
        :raise ValueError: the secret is too short, or the user is not a name.
        """
        self._secret = check_secret(secret)
        self._user = check_name("user", user)
        self._key = _hmac(self._secret[UNUSED_SECRET_SIZE:], _KEY_LABEL)
        self._external_namespaces = frozenset(external_namespaces)
        self._bindings: dict[str, bytes] = {}

    def binding(self, namespace: str = "") -> bytes:
        """
        Give what the seals of blobs in a namespace say of where they belong.

        :return: 16 bytes, which say nothing to those who don't have the secret.
        :raise TypeError: the namespace is not a ``str``.
        :raise ValueError: it is neither empty nor a name.
        """
        known = self._bindings.get(namespace)
        if known is None:
            place = check_namespace(namespace) or DEFAULT_NAMESPACE
            message = b"\0".join([_BINDING_LABEL, self._user.encode(), place.encode()])
            known = self._bindings[namespace] = _hmac(self._key, message)[:BINDING_SIZE]
        return known

    def takes_external(self, namespace: str = "") -> bool:
        """Say whether blobs that others sealed are expected in a namespace."""
        return namespace in self._external_namespaces

    def opener(self, blob_id: str, namespace: str = "") -> Opener:
        """
        Make what opens a blob that comes from a namespace of the user.

        :raise TypeError: the id or the namespace is not a ``str``.
        :raise ValueError: the id or the namespace is not a name.
        """
        binding, takes_external = self.binding(namespace), self.takes_external(namespace)
        return Opener(self._secret, blob_id, namespace, binding, takes_external)

    def sealer(self, preamble: bytes, size: int, namespace: str = "") -> Sealer | Rewrapper:
        """
        Make what seals the content of a blob in a namespace of the user; see :func:`.make_sealer`.

        :raise InvalidBlob: the preamble is that of a blob of another user or namespace. Nobody
            could open it there.
        """
        sealer = make_sealer(self._secret, preamble, size)
        if isinstance(sealer, Sealer) and not is_bound_to(sealer.preamble, self.binding(namespace)):
            what = describe(sealer.preamble.blob_id, namespace)
            raise InvalidBlob(f"{what}: it was sealed for another user or namespace")
        return sealer


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, "sha256").digest()
