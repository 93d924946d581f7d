"""The Authorization header."""

from __future__ import annotations

import base64
import binascii

from .messages import ProtocolError


def write_authorization(user: str, token: str) -> str:
    """Make the value of the Authorization header."""
    return "Token " + base64.b64encode(f"{user}:{token}".encode()).decode("ascii")


def read_authorization(value: bytes) -> tuple[str, str]:
    """
    Take an Authorization header's value apart.

    :return: the user and the token.
    :raise ProtocolError: it is not one of ours.
    """
    scheme, _, encoded = value.partition(b" ")
    if scheme.lower() != b"token":
        raise ProtocolError("the authorization scheme must be Token")
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ProtocolError("the token is not base64") from error
    user, colon, token = text.partition(":")
    if not (user and colon and token):
        raise ProtocolError("the token must be base64 of user:token")
    return user, token
