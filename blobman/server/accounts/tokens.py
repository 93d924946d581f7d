"""
Tokens, and the file that their hashes are in.

A token is 32 random bytes, so one round of SHA-256 is all that its hash needs: there is
nothing to guess.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict

from zope.interface import implementer

from ... import disk
from ...errors import StoreError
from ...model import check_name
from .interface import ITokens, TokenInfo, Tokens

TOKEN_BYTES = 32
_ID_LENGTH = 12

LONGEST_LABEL = 64
"""Characters of a token's label."""


_NO_TOKEN = hashlib.sha256(b"").hexdigest()


def new_token(user: str, label: str, created: float) -> tuple[str, TokenInfo]:
    """
    Draw a token for a user.

    :param created: seconds since the epoch.
    :return: the token, and what may be kept of it.
    :raise ValueError: that can't be a user's name, or a label.
    """
    check_name("user", user)
    _check_label(label)
    token = secrets.token_urlsafe(TOKEN_BYTES)
    token_id = secrets.token_hex(_ID_LENGTH // 2)
    return token, TokenInfo(user, token_id, int(created), digest(token), label)


def check_is_free(label: str, tokens: Iterable[TokenInfo]) -> None:
    """
    See that none of a user's tokens is called so yet.

    :raise ValueError: one is.
    """
    for it in tokens:
        if it.is_called(label):
            raise ValueError(f"{it.user} has a token that is called {label!r} already")


def is_one_of(token: str, digests: Sequence[str]) -> bool:
    """Tell whether a token is among those with these hashes."""
    presented = digest(token)
    # Every one is compared, and one if there are none: the time tells nothing.
    matches = [hmac.compare_digest(presented, it) for it in digests or (_NO_TOKEN,)]
    return bool(digests) and any(matches)


@implementer(ITokens)
class TokenFile:
    """
    The hashes of all tokens, in one JSON file that only its owner can read.

    Each change takes a lock, and replaces the file at once.

    :param path: the file; it is made when the first token is added.
    :param now: gives seconds since the epoch.
    :raise ValueError: the path is empty.
    """

    def __init__(self, path: str, now: Callable[[], float] = time.time) -> None:
        if not path:
            raise ValueError("the path of the token file must not be empty")
        self.path = os.path.abspath(path)
        self._now = now

    def add(self, user: str, label: str = "") -> str:
        """Make a token; see :class:`.ITokens`."""
        token, info = new_token(user, label, self._now())
        with self._changing() as tokens:
            check_is_free(label, [it for it in tokens if it.user == user])
            tokens.append(info)
        return token

    def list(self, user: str | None = None) -> Tokens:
        """List tokens; see :class:`.ITokens`."""
        return [it for it in self._read() if user is None or it.user == user]

    def revoke(self, user: str, name: str | None = None) -> int:
        """Forget tokens; see :class:`.ITokens`."""
        if not self.list(user):
            # There may be no file, and none is made for this.
            return 0
        with self._changing() as tokens:
            before = len(tokens)
            tokens[:] = [
                it
                for it in tokens
                if it.user != user or (name is not None and not it.is_called(name))
            ]
            return before - len(tokens)

    def version(self) -> tuple[int, ...]:
        """Give what changes when the file does; empty if there is none."""
        return disk.version_of(self.path)

    def digests(self) -> dict[str, tuple[str, ...]]:
        """
        Read the hashes of each user's tokens.

        :raise StoreError: the file is not a token file.
        """
        users: dict[str, tuple[str, ...]] = {}
        for it in self._read():
            users[it.user] = (*users.get(it.user, ()), it.digest)
        return users

    def _read(self) -> Tokens:
        try:
            content = json.loads(disk.read_regular_file(self.path))
            return [_read_entry(entry) for entry in content["tokens"]]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise StoreError(f"{self.path} is damaged, or is not a token file") from error

    @contextmanager
    def _changing(self) -> Iterator[Tokens]:
        """Give the tokens to be changed, while nobody else can; write them at the end."""
        with disk.replacing(self.path) as replace:
            tokens = self._read()
            yield tokens
            replace(json.dumps({"tokens": [asdict(it) for it in tokens]}, indent=1).encode())


def _read_entry(entry: dict[str, object]) -> TokenInfo:
    info = TokenInfo(
        user=check_name("user", entry["user"]),
        token_id=str(entry["token_id"]),
        created=int(str(entry["created"])),
        digest=str(entry["digest"]),
        # Files of earlier versions have none.
        label=_check_label(str(entry.get("label") or "")),
    )
    if not re.fullmatch("[0-9a-f]{64}", info.digest):
        raise ValueError("not a hash")
    return info


def _check_label(label: str) -> str:
    if len(label) > LONGEST_LABEL or not label.isprintable() or label != label.strip():
        raise ValueError(
            f"a token's label must have at most {LONGEST_LABEL} characters that can be printed, "
            "and no blanks around them"
        )
    if label.startswith("-"):
        raise ValueError("a token's label must not look like an option: it begins with -")
    if re.fullmatch(f"[0-9a-f]{{{_ID_LENGTH}}}", label):
        raise ValueError("a token's label must not look like a token's id")
    return label


def digest(token: str) -> str:
    """Hash a token, in hex."""
    return hashlib.sha256(token.encode()).hexdigest()
