from __future__ import annotations

import hmac
import json
from base64 import b64decode
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from blobman.crypto import Method, Opener, Preamble, Scheme, Seals
from blobman.crypto.preamble import IMMUTABLE_REV, INCOMING_REV, read_preamble_text
from blobman.errors import InvalidBlob

from .test_opening import forge, one_by_one
from .vectors import BLOBS, LEGACY, open_in_pieces, sealed_bytes
from .vectors import SECRET as SOLEDAD_SECRET

_DATA = json.loads((Path(__file__).parent.parent / "vectors" / "bound-blobs.json").read_text())
SECRET: bytes = _DATA["secret"].encode("latin-1")
VECTORS: list[dict[str, Any]] = _DATA["blobs"]

# Where the spare bytes begin, and how many there are: behind "ImmutableRevision".
SPARE, SPARE_SIZE = 305, 237

IV = bytes(16)
names = st.text("abcXYZ019_-", min_size=1, max_size=20)
namespaces = st.one_of(st.just(""), names.filter(lambda name: name != "default"))


class Place(NamedTuple):
    user: str
    namespace: str


places = st.builds(Place, names, namespaces)


def seal(place: Place, content: bytes = b"content", secret: bytes = SECRET) -> bytes:
    seals = Seals(secret, place.user)
    preamble = Preamble.for_blob("a", len(content), IV, 0, seals.binding(place.namespace))
    sealer = seals.sealer(preamble.encode(), len(content), place.namespace)
    return sealer.header() + sealer.seal(content)


def opener_at(place: Place, blob_id: str = "a") -> Opener:
    return Seals(SECRET, place.user).opener(blob_id, place.namespace)


class VectorTests(SynchronousTestCase):
    """Blobs that Soledad opens; some of them say that they belong elsewhere."""

    def test_opening(self) -> None:
        self.assertEqual([blob["opens"] for blob in VECTORS], [True] * 5 + [False] * 6)
        for blob in VECTORS:
            place = Place(blob["user"], blob["namespace"])
            sealed = b64decode(blob["sealed_base64"])
            pieces = [*one_by_one(sealed[:800]), sealed[800:]]
            at_once, in_pieces = (opener_at(place, blob["blob_id"]) for _ in range(2))
            if blob["opens"]:
                content = b64decode(blob["content_base64"])
                self.assertEqual(at_once.open(sealed), content)
                self.assertEqual(open_in_pieces(in_pieces, pieces), content)
            else:
                error = self.assertRaises(InvalidBlob, at_once.open, sealed)
                self.assertIn(f"blob {blob['blob_id']!r}", str(error))
                self.assertRaises(InvalidBlob, open_in_pieces, in_pieces, pieces)

    def test_sealing(self) -> None:
        for blob in VECTORS:
            if not blob["opens"]:
                continue
            seals, content = Seals(SECRET, blob["user"]), b64decode(blob["content_base64"])
            binding = seals.binding(blob["namespace"]) if blob["spare_hex"] else None
            iv, size = bytes.fromhex(blob["iv_hex"]), len(content)
            preamble = Preamble.for_blob(blob["blob_id"], size, iv, blob["timestamp"], binding)
            sealer = seals.sealer(preamble.encode(), size, blob["namespace"])
            sealed = sealer.header() + sealer.seal(content)
            self.assertEqual(sealed, b64decode(blob["sealed_base64"]))

    def test_those_that_say_nothing_open_anywhere(self) -> None:
        for vector in [*(blob for blob in BLOBS if blob.sealed), LEGACY]:
            for place in (Place("alice", ""), Place("bob", "mail")):
                opener = Seals(SOLEDAD_SECRET, place.user).opener(vector.blob_id, place.namespace)
                self.assertEqual(opener.open(sealed_bytes(vector)), vector.cleartext)


class PlaceTests(SynchronousTestCase):
    @given(places, places, st.binary(max_size=100))
    def test_a_blob_opens_where_it_belongs_and_nowhere_else(
        self, mine: Place, other: Place, content: bytes
    ) -> None:
        sealed = seal(mine, content)
        self.assertEqual(opener_at(mine).open(sealed), content)
        if other != mine:
            error = self.assertRaises(InvalidBlob, opener_at(other).open, sealed)
            self.assertIn("for another user or namespace", str(error))

    @given(names, names, namespaces)
    def test_what_is_moved_from_the_user_to_the_namespace_is_another_place(
        self, user: str, more: str, namespace: str
    ) -> None:
        moved = Place(user, more + namespace)
        error = self.assertRaises(
            InvalidBlob, opener_at(Place(user + more, namespace)).open, seal(moved)
        )
        self.assertIn("for another", str(error))

    @given(st.integers(0, SPARE_SIZE - 1), st.integers(0, 255), places)
    def test_every_spare_byte_counts(self, offset: int, byte: int, place: Place) -> None:
        raw = read_preamble_text(seal(place)[:736])
        changed = bytearray(raw)
        changed[SPARE + offset] = byte
        sealed = forge(bytes(changed), b"content", SECRET)
        if bytes(changed) == raw:
            self.assertEqual(opener_at(place).open(sealed), b"content")
        else:
            self.assertRaises(InvalidBlob, opener_at(place).open, sealed)

    def test_each_spare_byte_of_an_old_blob_is_zero(self) -> None:
        raw = Preamble.for_blob("a", 7, IV, 0).encode()
        for offset in range(SPARE, SPARE + SPARE_SIZE):
            changed = raw[:offset] + b"\1" + raw[offset + 1 :]
            opener = opener_at(Place("alice", ""))
            self.assertRaises(InvalidBlob, opener.open, forge(changed, b"content", SECRET))

    def test_a_seal_can_not_be_made_to_say_nothing(self) -> None:
        sealed = seal(Place("alice", "mail"))
        said = Preamble.decode(read_preamble_text(sealed[:736]))
        silent = Preamble.for_blob("a", 7, said.iv, said.timestamp).encode()
        opener = opener_at(Place("alice", "drafts"))
        forged = forge(silent, b"", SECRET)[:737] + sealed[737:]
        self.assertRaises(InvalidBlob, opener.open, forged)

    def test_a_place_that_is_not_known_is_not_right(self) -> None:
        opener = Opener(SECRET, "a")
        error = self.assertRaises(InvalidBlob, opener.open, seal(Place("alice", "")))
        self.assertIn("for another user or namespace", str(error))


class BindingTests(SynchronousTestCase):
    def test_it_is_what_the_protocol_says(self) -> None:
        key = hmac.digest(SECRET[64:], b"blobman binding key 1", "sha256")
        for namespace, named in (("", b"default"), ("mail", b"mail")):
            wanted = hmac.digest(key, b"blobman binding 1\0alice\0" + named, "sha256")[:16]
            seals = Seals(SECRET, "alice")
            self.assertEqual([seals.binding(namespace) for _ in range(2)], [wanted] * 2)

    def test_wrong_arguments(self) -> None:
        for user in ("", "a/b", "a\0b"):
            self.assertRaises(ValueError, Seals, SECRET, user)
        self.assertRaises(ValueError, Seals, SECRET[:64], "alice")
        self.assertRaises(TypeError, Seals, None, "alice")
        for namespace in ("a b", "default", "a\0b"):
            self.assertRaises(ValueError, Seals(SECRET, "alice").binding, namespace)
        self.assertRaises(TypeError, Seals(SECRET, "alice").binding, None)

    def test_repr(self) -> None:
        seals = Seals(SECRET, "alice")
        self.assertNotIn(SECRET.decode("latin-1")[64:], repr(seals) + repr(vars(seals).keys()))


class SealerTests(SynchronousTestCase):
    def test_nothing_is_sealed_for_a_place_where_it_does_not_open(self) -> None:
        seals = Seals(SECRET, "alice")
        raw = Preamble.for_blob("a", 7, IV, 0, seals.binding("mail")).encode()
        for stranger, namespace in ((seals, ""), (seals, "drafts"), (Seals(SECRET, "bob"), "mail")):
            error = self.assertRaises(InvalidBlob, stranger.sealer, raw, 7, namespace)
            self.assertIn("blob 'a'", str(error))
        self.assertEqual(seals.sealer(raw, 7, "mail").size, 7)

    def test_what_says_nothing_is_sealed_anywhere(self) -> None:
        raw = Preamble.for_blob("a", 7, IV, 0).encode()
        self.assertEqual(Seals(SECRET, "bob").sealer(raw, 7, "drafts").size, 7)


class PreambleTests(SynchronousTestCase):
    def test_the_bytes(self) -> None:
        raw = Preamble.for_blob("a", 0, IV, 0, b"b" * 16).encode()
        self.assertEqual(raw[SPARE : SPARE + 21], b"\x01" + bytes(4) + b"b" * 16)
        without = Preamble.for_blob("a", 0, IV, 0).encode()
        self.assertEqual(raw[:SPARE] + bytes(21) + raw[SPARE + 21 :], without)

    def test_what_does_not_fit(self) -> None:
        scheme, method = Scheme.EXTERNAL, Method.PGP
        for rev, binding in ((IMMUTABLE_REV, b"b" * 15), (INCOMING_REV, b"b" * 16)):
            with self.assertRaises(ValueError) as caught:
                Preamble(scheme, method, 0, IV, "a", rev, 0, binding)
            self.assertIn("binding", str(caught.exception))

    def test_what_an_extension_says_is_not_guessed(self) -> None:
        raw = Preamble.for_blob("a", 0, IV, 0, b"b" * 16).encode()
        for offset, byte, reason in (
            (0, b"\x02", "version 2, which is not known"),
            (0, b"\xff", "version 255, which is not known"),
            (1, b"\x01", "epoch 1, which is not known"),
            (4, b"\x80", f"epoch {0x80 << 24}, which is not known"),
            (21, b"\x01", "not zero"),
            (236, b"\x01", "not zero"),
        ):
            at = SPARE + offset
            error = self.assertRaises(InvalidBlob, Preamble.decode, raw[:at] + byte + raw[at + 1 :])
            self.assertIn(reason, str(error))
