"""
The file that keeps a seed, encrypted under a passphrase: its format, without I/O.

It is JSON. Argon2id makes a key of the passphrase, and AES-256-GCM encrypts the seed with it; all
else that the file says is authenticated along with it.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from .seeds import SEED_SIZE, check_value

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FORMAT = 1
SALT_SIZE = 16
NONCE_SIZE = 12
MAX_SIZE = 4096
"""Bytes; the file has fewer than 1000."""

_CHECK_SIZE = 16
_TAG_SIZE = 16
_KDF = "argon2id"
_CIPHER = "aes-256-gcm"

# What a file may ask of this machine: a stranger could have written it.
_MAX_MEMORY = 1024 * 1024
_MAX_WORK = 4 * _MAX_MEMORY
_MAX_LANES = 16


class KeysFileError(Exception):
    """A file is no file of keys, or is damaged."""


class WrongPassphraseError(Exception):
    """It is not the passphrase; or the file was changed: these can't be told apart."""


class KeptBy(str, Enum):
    """Who knows the passphrase."""

    USER = "user"
    KEYRING = "keyring"


@dataclass(frozen=True)
class Cost:
    """
    What it costs to try a passphrase: by default, what RFC 9106, section 4, recommends second.

    :ivar iterations: passes over the memory.
    :ivar lanes: how many threads can share the work.
    :ivar memory: KiB.
    """

    iterations: int = 3
    lanes: int = 4
    memory: int = 64 * 1024

    def __post_init__(self) -> None:
        if not (
            1 <= self.lanes <= _MAX_LANES
            and 8 * self.lanes <= self.memory <= _MAX_MEMORY
            and self.iterations >= 1
            and self.iterations * self.memory <= _MAX_WORK
        ):
            raise KeysFileError("it asks for too much memory or time, or for too little")


@dataclass(frozen=True)
class KeysFile:
    """
    What the file says.

    :ivar check: tells whether a seed is the one in the file.
    :ivar salt: different for each passphrase.
    """

    kept_by: KeptBy
    check: bytes
    salt: bytes
    cost: Cost
    nonce: bytes
    ciphertext: bytes = field(repr=False, default=b"")

    @classmethod
    def seal(
        cls,
        seed: bytes,
        passphrase: str,
        kept_by: KeptBy,
        salt: bytes,
        nonce: bytes,
        cost: Cost | None = None,
    ) -> KeysFile:
        """
        Encrypt a seed. Takes a good part of a second, and 64 MiB of memory.

        :param salt: ``SALT_SIZE`` random bytes, used once.
        :param nonce: ``NONCE_SIZE`` random bytes, used once.
        """
        header = cls(kept_by, check_value(seed), salt, cost or Cost(), nonce)
        ciphertext = header._cipher(passphrase).encrypt(nonce, seed, header._authenticated())
        return cls(kept_by, header.check, salt, header.cost, nonce, ciphertext)

    def open(self, passphrase: str) -> bytes:
        """
        Decrypt the seed. Takes as long as ``seal``.

        :raise WrongPassphraseError: it can't be done.
        """
        from cryptography.exceptions import InvalidTag

        try:
            cipher = self._cipher(passphrase)
            return cipher.decrypt(self.nonce, self.ciphertext, self._authenticated())
        except InvalidTag:
            raise WrongPassphraseError(
                "the passphrase is wrong (blobman init --recover sets another one)"
            ) from None

    def encode(self) -> str:
        """Write the file."""
        return json.dumps({**self._header(), "ciphertext": self.ciphertext.hex()}, indent=2)

    @classmethod
    def decode(cls, content: bytes) -> KeysFile:
        """
        Read the file.

        :raise KeysFileError: it is none, or asks for too much.
        """
        if len(content) > MAX_SIZE:
            raise KeysFileError(f"it is too large: over {MAX_SIZE} bytes")
        try:
            fields = json.loads(content)
        except (ValueError, RecursionError):
            raise KeysFileError("it is damaged: it is not JSON") from None
        if isinstance(fields, dict) and fields.get("format", FORMAT) != FORMAT:
            raise KeysFileError(f"it has a format other than {FORMAT}: it needs a newer blobman")
        try:
            return cls._from_fields(fields)
        except (KeyError, TypeError, ValueError):
            raise KeysFileError("it is damaged") from None

    @classmethod
    def _from_fields(cls, fields: Mapping[str, Any]) -> KeysFile:
        kdf, cipher = fields["kdf"], fields["cipher"]
        found = cls(
            KeptBy(fields["kept_by"]),
            _read_bytes(fields["check"], _CHECK_SIZE),
            _read_bytes(kdf["salt"], SALT_SIZE),
            Cost(*(_read_number(kdf[name]) for name in ("iterations", "lanes", "memory_kib"))),
            _read_bytes(cipher["nonce"], NONCE_SIZE),
            _read_bytes(fields["ciphertext"], SEED_SIZE + _TAG_SIZE),
        )
        if {**found._header(), "ciphertext": fields["ciphertext"]} != fields:
            raise ValueError("there is more in it, or something else")
        return found

    def _header(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "kept_by": self.kept_by.value,
            "check": self.check.hex(),
            "kdf": {
                "name": _KDF,
                "salt": self.salt.hex(),
                "iterations": self.cost.iterations,
                "lanes": self.cost.lanes,
                "memory_kib": self.cost.memory,
            },
            "cipher": {"name": _CIPHER, "nonce": self.nonce.hex()},
        }

    def _authenticated(self) -> bytes:
        return json.dumps(self._header(), sort_keys=True, separators=(",", ":")).encode("ascii")

    def _cipher(self, passphrase: str) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

        # One passphrase has several spellings in Unicode, and keyboards differ.
        normal = unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogateescape")
        kdf = Argon2id(
            salt=self.salt,
            length=32,
            iterations=self.cost.iterations,
            lanes=self.cost.lanes,
            memory_cost=self.cost.memory,
        )
        return AESGCM(kdf.derive(normal))


def _read_bytes(text: Any, size: int) -> bytes:
    found = bytes.fromhex(text)
    if len(found) != size:
        raise ValueError("wrong size")
    return found


def _read_number(value: Any) -> int:
    if type(value) is not int:
        raise TypeError("no number")
    return value
