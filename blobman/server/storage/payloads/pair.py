"""Whether a catalogue and a store of payloads belong together."""

from __future__ import annotations

import secrets

from ....errors import StoreError
from ..catalogue.interface import ICatalogue, StoreMark
from .interface import IPayloads

_ANOTHER = "the store of payloads belongs to another catalogue"


async def check_pair(catalogue: ICatalogue, payloads: IPayloads) -> None:
    """
    See that a catalogue and a store of payloads belong together; both are open.

    A new catalogue and a store that no other one has are made a pair. The catalogue notes the mark
    first, and that the store bears it last: whenever this is interrupted, it goes on from there.

    :raise StoreError: they don't: it would look as if all payloads had been lost.
    """
    noted = await catalogue.store_mark()
    if not payloads.is_apart:
        if noted is not None:
            raise StoreError("the catalogue's payloads are in another store, not beside it")
        return
    noted = noted or await _begin(catalogue, payloads)
    present = await payloads.read_mark()
    if present is None and not noted.is_confirmed:
        present = noted.mark
        await payloads.write_mark(present)
    if present is None:
        raise StoreError("the store of payloads is not the catalogue's: it bears no mark")
    if present != noted.mark:
        raise StoreError(_ANOTHER)
    if not noted.is_confirmed:
        await catalogue.confirm_store_mark()


async def _begin(catalogue: ICatalogue, payloads: IPayloads) -> StoreMark:
    present = await payloads.read_mark()
    # Another process may be doing the same: it notes its mark before it writes it.
    noted = await catalogue.store_mark()
    if noted is None and present is not None:
        raise StoreError(_ANOTHER)
    return noted or await catalogue.note_store_mark(secrets.token_hex(16))
