"""
``/incoming/``: trusted local services deliver what is encrypted already, such as mail.

It belongs on a listener of its own, with its own tokens: a service may deliver to every user.
"""

from __future__ import annotations

import base64
import os
import struct
import time
from collections.abc import Callable

from ...model import Flags, is_name
from ...protocol import ProtocolError
from ..accounts.admission import Admission
from ..accounts.interface import IAccounts
from ..storage.interface import BlobName, IBlobsBackend
from .answers import answer
from .refusals import Refusal
from .request import BlobsRequest
from .upload import check_longest, write_body
from .users import Handler, Target, UserResource

NAMESPACE = "MX"
"""Where what is delivered goes."""

_PREAMBLE = struct.Struct("<2sbb4xQ16s255p255p2xQ")
_MAGIC, _EXTERNAL, _PGP, _REV = b"\x13\x37", 2, 3, b"0"


def external_preamble(blob_id: str, timestamp: int, iv: bytes, size: int) -> bytes:
    """
    Make what stands before a delivered blob: a preamble as base64, and a space.

    :param timestamp: seconds since the epoch.
    :param iv: 16 bytes; nothing depends on them.
    :param size: the bytes that follow. Unlike that of a sealed blob, it is told as it is.
    """
    raw = _PREAMBLE.pack(_MAGIC, _EXTERNAL, _PGP, timestamp, iv, blob_id.encode(), _REV, size)
    return base64.urlsafe_b64encode(raw) + b" "


class IncomingResource(UserResource):
    """
    ``/incoming/``.

    :param accounts: knows the tokens of the services.
    :param now: gives seconds since the epoch.
    :param random: gives as many random bytes as it is asked for.
    """

    def __init__(
        self,
        accounts: IAccounts,
        admission: Admission,
        backend: IBlobsBackend,
        now: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        super().__init__(accounts, admission, backend)
        self._now = now
        self._random = random

    def may_act_for(self, caller: str, user: str) -> bool:
        """Let a service deliver to every user."""
        return True

    def handlers(self, parts: list[str]) -> dict[str, Handler]:
        """Know one place."""
        if len(parts) != 1:
            raise Refusal(404, "no such place")
        return {"PUT": self._deliver}

    async def _deliver(self, request: BlobsRequest, target: Target) -> None:
        (blob_id,) = target.parts
        if not is_name(blob_id):
            raise ProtocolError("the blob's id is not a name")
        size = request.body.length
        if size is None:
            raise Refusal(411, "a delivery needs a Content-Length")
        check_longest(size)
        preamble = external_preamble(blob_id, int(self._now()), self._random(16), size)
        name = BlobName(target.user, NAMESPACE, blob_id)
        upload = await self._backend.receive(name, len(preamble) + size)
        await write_body(request, upload, preamble)
        await upload.publish([Flags.PENDING])
        await answer(request, 200)
