from __future__ import annotations

import base64
import hashlib
import hmac
import string

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from blobman.cli.seeds import (
    CODE_LENGTH,
    RecoveryCodeError,
    check_value,
    derive_keys,
    read_code,
    write_code,
)

SEED = bytes(range(32))
CODE = "AAAQ-EAYE-AUDA-OCAJ-BIFQ-YDIO-B4IB-CEQT-CQKR-MFYY-DENB-WHA5-DYPW-GDON"

seeds = st.binary(min_size=32, max_size=32)
letters = st.sampled_from(string.ascii_uppercase + "234567")


def hkdf(seed: bytes, info: bytes, size: int) -> bytes:
    """RFC 5869, without a salt."""
    key = hmac.digest(bytes(32), seed, "sha256")
    block = output = b""
    for number in range(1, 255):
        block = hmac.digest(key, block + info + bytes([number]), "sha256")
        output += block
    return output[:size]


class KeyTests(SynchronousTestCase):
    def test_they_never_change(self) -> None:
        keys = derive_keys(SEED)
        digests = [hashlib.sha256(it).hexdigest()[:16] for it in (keys.store, keys.secret)]
        self.assertEqual(digests, ["5725b20813ea7481", "1afbb48d0257470c"])
        self.assertEqual(check_value(SEED).hex(), "26f7eafaa5cc9ea4b0d56a4e3bd8c29a")

    def test_by_another_derivation(self) -> None:
        keys = derive_keys(SEED)
        for key, info in (
            (keys.store, b"blobman 1 key of the store"),
            (keys.secret, b"blobman 1 secret of the blobs"),
        ):
            self.assertEqual(key, base64.urlsafe_b64encode(hkdf(SEED, info, 96)))
        self.assertEqual(check_value(SEED), hkdf(SEED, b"blobman 1 check value", 16))

    @given(seeds, seeds)
    def test_different_seeds(self, one: bytes, two: bytes) -> None:
        keys = [derive_keys(one).store, derive_keys(one).secret]
        if one != two:
            keys += [derive_keys(two).store, derive_keys(two).secret]
            self.assertNotEqual(check_value(one), check_value(two))
        self.assertEqual(len({key[64:] for key in keys}), len(keys))

    def test_they_are_not_shown(self) -> None:
        keys = derive_keys(SEED)
        self.assertNotIn(keys.store.decode()[:10], repr(keys))
        self.assertNotIn(keys.secret.decode()[:10], repr(keys))


class RecoveryCodeTests(SynchronousTestCase):
    def refuse(self, text: str) -> str:
        with self.assertRaises(RecoveryCodeError) as caught:
            read_code(text)
        return str(caught.exception)

    def test_it_never_changes(self) -> None:
        self.assertEqual(write_code(SEED), CODE)

    @given(seeds)
    def test_there_and_back(self, seed: bytes) -> None:
        self.assertEqual(read_code(write_code(seed)), seed)

    def test_as_people_type(self) -> None:
        for text in (
            CODE.lower(),
            CODE.replace("-", ""),
            CODE.replace("-", " "),
            CODE.replace("-", " \u2013 "),
            CODE.replace("-", "\u2011"),
            CODE.replace("-", "\u00a0"),
            f"\ufeff {CODE[:35]}\r\n{CODE[35:]}\r\n".removeprefix("\ufeff"),
        ):
            self.assertEqual(read_code(text), SEED)

    @given(seeds, st.integers(0, CODE_LENGTH - 1), letters)
    def test_a_wrong_letter(self, seed: bytes, at: int, letter: str) -> None:
        code = write_code(seed).replace("-", "")
        if code[at] != letter:
            self.assertIn("mistake", self.refuse(code[:at] + letter + code[at + 1 :]))

    @given(seeds, st.integers(0, CODE_LENGTH - 2))
    def test_two_letters_the_wrong_way_round(self, seed: bytes, at: int) -> None:
        code = write_code(seed).replace("-", "")
        if code[at] != code[at + 1]:
            self.refuse(code[:at] + code[at + 1] + code[at] + code[at + 2 :])

    @given(seeds, st.integers(0, CODE_LENGTH - 1))
    def test_cut_short(self, seed: bytes, length: int) -> None:
        code = write_code(seed).replace("-", "")
        self.assertIn(f"this {length}", self.refuse(code[:length]))

    def test_more_of_it(self) -> None:
        self.assertIn("has 56 letters, this 57", self.refuse(CODE + "A"))

    def test_other_characters(self) -> None:
        for other in "0189!\u00df\u0131\u017f\u0661\x00":
            line = self.refuse(CODE[:10] + other + CODE[11:])
            self.assertIn("group 3 ", line)

    @given(st.text())
    def test_garbage(self, text: str) -> None:
        self.refuse(text)

    @given(st.text(letters, min_size=20, max_size=70))
    def test_it_is_not_shown(self, text: str) -> None:
        self.assertNotIn(text, self.refuse(text))
