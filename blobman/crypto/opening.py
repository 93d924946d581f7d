"""
Opening a sealed blob piece by piece: sealed bytes in, cleartext out, in constant memory.

AES-GCM says whether the cleartext is genuine only when the last byte has come. So what an
:class:`Opener` gives is unverified until :meth:`Opener.finish` has returned: it may be
staged where nobody sees it, and nothing else.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import AEADDecryptionContext, Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM

from ..errors import ExternalBlobError, InvalidBlob, describe
from .keys import blob_key
from .preamble import (
    DELIVERED,
    PREAMBLE_TEXT_SIZE,
    SEALED_BY_US,
    Preamble,
    is_bound_to,
    read_preamble_text,
)
from .sizes import MAX_CONTENT_SIZE, padded_size
from .wrapping import SEPARATOR, TAG_SIZE, Octets, update_in_pieces

__all__ = ["Opener"]

_NOTHING = memoryview(b"")


class Opener:
    """
    Opens one blob: :meth:`feed` for all of its sealed bytes, however they are cut, then
    :meth:`finish`. Memory grows to the longest piece that was fed, and no further.

    A blob that others sealed (``external``) is not ours to decrypt: what follows its preamble
    is given as it comes, and nothing vouches for it but the size in its preamble. Anybody can make
    one up, so it is refused unless it is expected.

    :ivar preamble: the raw preamble; empty until all of it has come.
    :ivar external: whether it is a blob that others sealed; False until the preamble has come.
    :ivar size: how many bytes of content have been given so far.
    :ivar sealed_size: how many sealed bytes have been fed so far.
    :ivar tag: the last of them: once all have been fed, that is what a server takes for the tag.
    """

    def __init__(
        self,
        secret: bytes,
        blob_id: str,
        namespace: str = "",
        binding: bytes | None = None,
        takes_external: bool = False,
    ) -> None:
        """
        :param secret: what :func:`check_secret` gave.
        :param blob_id: the id that the blob must have.
        :param namespace: where it belongs, for the messages.
        :param binding: what its seal has to say of where it belongs, unless that says nothing.
            Without, no seal that says so is opened.
        :param takes_external: whether it may be a blob that others sealed.
        :raise TypeError: the secret is neither ``bytes`` nor ``str``, or the id not a ``str``.
        :raise ValueError: the secret is too short, or the id is not a name.
        """
        self.preamble = b""
        self.external = False
        self.size = 0
        self.sealed_size = 0
        self.tag = b""
        self._blob_id = blob_id
        self._binding = binding
        self._takes_external = takes_external
        self._what = describe(blob_id, namespace)
        self._key = blob_key(secret, blob_id)
        self._iv = b""
        self._decryptor: AEADDecryptionContext | None = None
        self._content_size: int | None = None
        self._text = b""
        self._held = b""
        self._buffer = bytearray()
        self._failure: str | None = None
        self._kind: type[InvalidBlob] = InvalidBlob
        self._finished = False

    def feed(self, data: Octets) -> memoryview:
        """
        Take the next sealed bytes.

        :return: content that is **not verified yet**; empty if it takes more to give any.
            Read-only, and valid until the next call: it may lie in a buffer that is used
            again, or in ``data``.
        :raise InvalidBlob: this can't be the blob, or an earlier call has said so.
        :raise ValueError: the blob is finished.
        """
        self._check_usable()
        rest = memoryview(data)
        self._note_end(rest)
        if not self.preamble:
            rest = self._feed_preamble(rest)
        if self._iv:
            return self._decrypt(rest)
        self._count(len(rest))
        return rest.toreadonly()

    def open(self, sealed: Octets) -> memoryview:
        """
        Take a whole sealed blob at once.

        :return: all of its content, verified; of a blob that others sealed, what follows its
            preamble.
        :raise InvalidBlob: it is not genuine, or cut.
        :raise ValueError: some of it has been fed already.
        """
        self._check_usable()
        if self._text:
            raise ValueError(f"some of {self._what} has been fed already")
        self._note_end(memoryview(sealed))
        rest = self._feed_preamble(memoryview(sealed))
        if not self._iv:
            self._count(len(rest))
            self.finish()
            return rest.toreadonly()
        size = max(0, len(rest) - TAG_SIZE)
        self._held = bytes(rest[size:])
        self._count(size)
        content = bytearray(size)
        update_in_pieces(self._begun(), rest[:size], content)
        self.finish()
        return memoryview(content).toreadonly()

    def finish(self) -> None:
        """
        Say that all has been fed, and verify it. Only if this returns is the content genuine.

        :raise InvalidBlob: it is not, or it is cut, or an earlier call has failed.
        :raise ValueError: the blob is finished already.
        """
        self._check_usable()
        if not self.preamble:
            raise self._refuse(f"it is truncated: {len(self._text)} bytes are not a preamble")
        if self._iv and len(self._held) < TAG_SIZE:
            raise self._refuse("it is truncated: it has no tag")
        self._check_size()
        if self._iv:
            try:
                self._begun().finalize_with_tag(self._held)
            except InvalidTag as error:
                reason = "its tag does not verify: it was changed, or sealed with another secret"
                raise self._refuse(reason) from error
        self._finished = True

    def _note_end(self, data: memoryview) -> None:
        self.sealed_size += len(data)
        end = bytes(data[-TAG_SIZE:])
        self.tag = end if len(end) == TAG_SIZE else (self.tag + end)[-TAG_SIZE:]

    # -- the preamble ------------------------------------------------------------------

    def _feed_preamble(self, data: memoryview) -> memoryview:
        """Collect the preamble's text; give what follows it."""
        start = bytes(data[: PREAMBLE_TEXT_SIZE + len(SEPARATOR) - len(self._text)])
        text, separator, _ = start.partition(SEPARATOR)
        self._text += text
        if separator:
            self._read_preamble()
            return data[len(text) + len(separator) :]
        if len(self._text) > PREAMBLE_TEXT_SIZE:
            raise self._refuse(f"no preamble ends within its first {len(self._text)} bytes")
        return _NOTHING

    def _read_preamble(self) -> None:
        try:
            raw = read_preamble_text(self._text)
            preamble = Preamble.decode(raw)
        except InvalidBlob as error:
            raise self._refuse(str(error)) from error
        self._check_preamble(preamble)
        self.preamble = raw
        self.external = preamble.kind == DELIVERED
        self._content_size = preamble.content_size
        self._iv = b"" if self.external else preamble.iv

    def _check_preamble(self, preamble: Preamble) -> None:
        if preamble.blob_id != self._blob_id:
            raise self._refuse(f"its preamble is that of {describe(preamble.blob_id)}")
        if preamble.kind not in (SEALED_BY_US, DELIVERED):
            raise self._refuse(
                f"scheme {preamble.scheme.name}, method {preamble.method.name} and "
                f"rev {preamble.rev!r:.40} do not go together"
            )
        if preamble.kind == DELIVERED and not self._takes_external:
            reason = "it has no seal of the user's, and external blobs are not expected there"
            raise self._refuse(reason, ExternalBlobError)
        if not is_bound_to(preamble, self._binding):
            raise self._refuse(
                "it was sealed with another secret, or for another user or namespace"
            )

    # -- the content -------------------------------------------------------------------

    def _begun(self) -> AEADDecryptionContext:
        if self._decryptor is None:
            self._decryptor = Cipher(AES(self._key), GCM(self._iv)).decryptor()
            self._decryptor.authenticate_additional_data(self.preamble)
        return self._decryptor

    def _decrypt(self, data: memoryview) -> memoryview:
        """Decrypt all but the last bytes, which may be the tag."""
        ready = len(self._held) + len(data) - TAG_SIZE
        if ready <= 0:
            self._held += data
            return _NOTHING
        self._count(ready)
        if len(self._buffer) < ready:
            self._buffer = bytearray(ready)
        cleartext = memoryview(self._buffer)[:ready]
        held, data_ready = self._held[:ready], data[: max(0, ready - len(self._held))]
        decryptor = self._begun()
        decryptor.update_into(held, cleartext[: len(held)])
        decryptor.update_into(data_ready, cleartext[len(held) :])
        self._held = self._held[len(held) :] + data[len(data_ready) :]
        return cleartext.toreadonly()

    def _count(self, length: int) -> None:
        """Count content before it is given, so that too much of it is never given."""
        size = self.size + length
        if size > MAX_CONTENT_SIZE:
            raise self._refuse(f"it has more than {MAX_CONTENT_SIZE} bytes of content")
        if self._content_size is not None and size > self._content_size:
            raise self._refuse(
                f"it has more content than the {self._content_size} bytes in its preamble"
            )
        self.size = size

    def _check_size(self) -> None:
        # Soledad's server writes the exact size for what it wraps; the padded one does no harm.
        allowed = {padded_size(self.size), *([self.size] if self.external else [])}
        if self._content_size is not None and self._content_size not in allowed:
            raise self._refuse(
                f"its preamble speaks of {self._content_size} bytes of content, "
                f"which does not fit the {self.size} that came"
            )

    # -- ends --------------------------------------------------------------------------

    def _check_usable(self) -> None:
        if self._failure is not None:
            raise self._kind(self._failure)
        if self._finished:
            raise ValueError(f"{self._what} is finished")

    def _refuse(self, reason: str, kind: type[InvalidBlob] = InvalidBlob) -> InvalidBlob:
        """Fail for good."""
        self._failure, self._kind = f"{self._what}: {reason}", kind
        self._decryptor = None
        self._buffer = bytearray()
        return kind(self._failure)
