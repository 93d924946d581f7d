from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from blobman.cli.keysfile import Cost, KeptBy, KeysFile, KeysFileError, WrongPassphraseError
from blobman.cli.seeds import check_value

SEED = bytes(range(32))
SALT, NONCE = b"s" * 16, b"n" * 12
CHEAP = Cost(1, 1, 8)
EXAMPLE: dict[str, Any] = {
    "format": 1,
    "kept_by": "user",
    "check": "26f7eafaa5cc9ea4b0d56a4e3bd8c29a",
    "kdf": {
        "name": "argon2id",
        "salt": "73737373737373737373737373737373",
        "iterations": 1,
        "lanes": 1,
        "memory_kib": 8,
    },
    "cipher": {"name": "aes-256-gcm", "nonce": "6e6e6e6e6e6e6e6e6e6e6e6e"},
    "ciphertext": "8bd641b3d72ae6de3b355f0e6cdd864580ad006c99638384"
    "abc58372c10b1f944b216b6e5fe52523759140d8097a52c6",
}

passphrases = st.text(min_size=1, max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def sealed(passphrase: str = "open sesame", cost: Cost = CHEAP) -> KeysFile:
    return KeysFile.seal(SEED, passphrase, KeptBy.USER, SALT, NONCE, cost)


def encoded() -> bytes:
    return sealed().encode().encode()


def changed(*path: str, value: Any) -> bytes:
    """Set something in the file."""
    fields = json.loads(encoded())
    inner = fields
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return json.dumps(fields).encode()


class KeysFileTests(SynchronousTestCase):
    def test_the_format_never_changes(self) -> None:
        self.assertEqual(json.loads(encoded()), EXAMPLE)
        self.assertEqual(KeysFile.decode(json.dumps(EXAMPLE).encode()).open("open sesame"), SEED)

    def test_the_cost(self) -> None:
        keys = KeysFile.seal(SEED, "open sesame", KeptBy.USER, SALT, NONCE)
        self.assertEqual(keys.cost, Cost(iterations=3, lanes=4, memory=65536))
        self.assertEqual(KeysFile.decode(keys.encode().encode()).open("open sesame"), SEED)

    @settings(max_examples=50)
    @given(passphrases, passphrases)
    def test_passphrases(self, one: str, two: str) -> None:
        keys = KeysFile.decode(sealed(one).encode().encode())
        self.assertEqual(keys.open(one), SEED)
        if one != two and two.isascii():
            self.assertRaises(WrongPassphraseError, keys.open, two)

    def test_spellings_of_a_letter(self) -> None:
        self.assertEqual(sealed("h\u00fcsch").open("hu\u0308sch"), SEED)

    def test_bytes_that_are_no_text(self) -> None:
        self.assertEqual(sealed("h\udcffsch").open("h\udcffsch"), SEED)

    def test_the_check_value_is_that_of_the_seed(self) -> None:
        self.assertEqual(sealed().check, check_value(SEED))

    def test_nothing_is_shown(self) -> None:
        text = repr(sealed()) + sealed().encode()
        for secret in ("sesame", SEED.hex(), sealed().ciphertext.hex()):
            self.assertNotIn(secret, repr(sealed()))
        self.assertNotIn("sesame", text)
        self.assertNotIn(SEED.hex(), text)


class HostileFileTests(SynchronousTestCase):
    def refuse(self, content: bytes) -> str:
        with self.assertRaises(KeysFileError) as caught:
            KeysFile.decode(content)
        return str(caught.exception)

    def test_every_truncation(self) -> None:
        content = encoded()
        for length in range(len(content)):
            self.refuse(content[:length])

    @given(st.integers(0, len(encoded()) - 1), st.integers(1, 255))
    def test_every_byte(self, at: int, flip: int) -> None:
        content = bytearray(encoded())
        content[at] ^= flip
        try:
            seed = KeysFile.decode(bytes(content)).open("open sesame")
        except (KeysFileError, WrongPassphraseError):
            return
        self.assertEqual(seed, SEED, "white space, or the case of a digit")

    def test_what_is_not_encrypted_is_authenticated(self) -> None:
        for path, value in (
            (("kept_by",), "keyring"),
            (("check",), "00" * 16),
            (("kdf", "salt"), "00" * 16),
            (("kdf", "iterations"), 2),
            (("kdf", "memory_kib"), 9),
            (("cipher", "nonce"), "00" * 12),
            (("ciphertext",), "00" * 48),
        ):
            keys = KeysFile.decode(changed(*path, value=value))
            self.assertRaises(WrongPassphraseError, keys.open, "open sesame")

    def test_it_can_not_ask_for_too_much(self) -> None:
        for name, value in (
            ("memory_kib", 100 * 1024 * 1024),
            ("memory_kib", 2**70),
            ("memory_kib", 7),
            ("memory_kib", -8),
            ("iterations", 10**9),
            ("iterations", 0),
            ("lanes", 17),
            ("lanes", 0),
        ):
            self.assertIn("too much memory", self.refuse(changed("kdf", name, value=value)))
        kdf = {**EXAMPLE["kdf"], "iterations": 5, "memory_kib": 1024 * 1024}
        self.assertIn("too much memory", self.refuse(changed("kdf", value=kdf)))

    @given(
        st.sampled_from(
            [
                ("format",),
                ("kept_by",),
                ("check",),
                ("kdf",),
                ("kdf", "name"),
                ("kdf", "salt"),
                ("kdf", "iterations"),
                ("cipher",),
                ("cipher", "name"),
                ("ciphertext",),
                ("another",),
                ("kdf", "another"),
            ]
        ),
        json_values,
    )
    def test_other_values(self, path: tuple[str, ...], value: object) -> None:
        if value not in (1, "user", "keyring"):
            self.refuse(changed(*path, value=value))

    @given(json_values)
    def test_other_json(self, value: object) -> None:
        self.refuse(json.dumps(value).encode())

    @given(st.binary(max_size=5000))
    def test_garbage(self, content: bytes) -> None:
        self.refuse(content)

    def test_deep_and_large(self) -> None:
        self.refuse(b"[" * 4000)
        self.assertIn("too large", self.refuse(b" " * 5000 + encoded()))
        self.refuse(changed("kdf", "iterations", value=1).replace(b"1", b"9" * 3000))

    def test_a_later_format(self) -> None:
        self.assertIn("newer blobman", self.refuse(changed("format", value=2)))
