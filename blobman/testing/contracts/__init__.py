"""
What a backend, a catalogue, accounts or a store of payloads of one's own has to do, as tests.

Each contract is mixed into a ``twisted.trial.unittest.TestCase`` whose ``setUp`` provides what is
tested, opened::

    class MyCatalogueTests(CatalogueContract, TestCase):
        async def setUp(self):
            self.catalogue = MyCatalogue(self.mktemp())
            await self.catalogue.open()
            self.addCleanup(self.catalogue.close)
"""

from __future__ import annotations

from .accounts import AccountsContract
from .backend import BackendContract
from .catalogue import CatalogueContract
from .payloads import PayloadsContract
from .shared import SharedContract
from .starts import StartsContract

__all__ = [
    "AccountsContract",
    "BackendContract",
    "CatalogueContract",
    "PayloadsContract",
    "SharedContract",
    "StartsContract",
]
