"""
Tokens, and the file that their hashes are in.

A token is 32 random bytes, so one round of SHA-256 is all that its hash needs: there is
nothing to guess.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

from ...errors import StoreError
from ...model import check_name
from .. import disk

TOKEN_BYTES = 32
_ID_LENGTH = 12

LONGEST_LABEL = 64
"""Characters of a token's label."""


@dataclass(frozen=True)
class TokenInfo:
    """
    A token as far as the server knows it.

    :ivar token_id: names it, for ``revoke``; tells nothing about it.
    :ivar created: seconds since the epoch.
    :ivar digest: the token's SHA-256, in hex.
    :ivar label: what its user calls it, such as ``phone``; empty if nothing.
    """

    user: str
    token_id: str
    created: int
    digest: str = field(repr=False)
    label: str = ""

    def is_called(self, name: str) -> bool:
        """Tell whether that is its id or its label."""
        return bool(name) and name in (self.token_id, self.label)


Tokens = list[TokenInfo]


class TokenFile:
    """
    The hashes of all tokens, in one JSON file that only its owner can read.

    All of this blocks. Several processes may change the file: each change takes a lock, and
    replaces the file at once.

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
        """
        Make a token for a user. It is not kept: this is the only time it can be seen.

        :param label: what to call it; no other token of the user may be called so.
        :raise ValueError: that can't be a user's name, or the label of this token.
        :raise StoreError: the file is not a token file.
        :raise FileNotFoundError: the folder that it belongs in is missing.
        """
        check_name("user", user)
        _check_label(label)
        token = secrets.token_urlsafe(TOKEN_BYTES)
        token_id = secrets.token_hex(_ID_LENGTH // 2)
        with self._changing() as tokens:
            if any(it.user == user and it.is_called(label) for it in tokens):
                raise ValueError(f"{user} has a token that is called {label!r} already")
            tokens.append(TokenInfo(user, token_id, int(self._now()), digest(token), label))
        return token

    def list(self, user: str | None = None) -> Tokens:
        """
        List the tokens of a user, or of all.

        :raise StoreError: the file is not a token file.
        """
        return [it for it in self._read() if user is None or it.user == user]

    def revoke(self, user: str, name: str | None = None) -> int:
        """
        Forget one token of a user, or all of them.

        :param name: the id or the label of one; None for all.
        :return: how many.
        :raise StoreError: the file is not a token file.
        """
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
            raise StoreError("the token file is damaged, or is none") from error

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
