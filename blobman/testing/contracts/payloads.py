"""What a store of payloads has to do."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from twisted.internet.defer import gatherResults
from zope.interface.verify import verifyObject

from ...server.storage.interface import DamagedError, UnavailableError
from ...server.storage.payloads.interface import IPayload, IPayloads, IPayloadWriter

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as Base
else:
    Base = object

_PIECES: list[bytes | memoryview] = [b"a" * 70_000, b"", b"b", memoryview(b"c" * 300_000)]
_CONTENT = b"".join(_PIECES)


class PayloadsContract(Base):
    """
    Mixed into a TestCase that sets ``payloads``, opened.

    :cvar keeps_what_is_open: whether a payload that is removed can be read by who has it open.
    """

    payloads: IPayloads
    keeps_what_is_open = True

    async def write(self, key: str) -> None:
        """Write a payload."""
        writer = await self.payloads.create(key)
        await writer.write(_PIECES[:2])
        await writer.write(_PIECES[2:])
        await writer.commit()

    async def test_interfaces(self) -> None:
        """Everything has what its interface says."""
        verifyObject(IPayloads, self.payloads)
        writer = await self.payloads.create(key := secrets.token_hex(16))
        verifyObject(IPayloadWriter, writer)
        await writer.commit()
        payload = await self.payloads.get(key)
        verifyObject(IPayload, payload)
        payload.close()
        await self.payloads.check_writing()

    async def test_write_and_read(self) -> None:
        """Any part can be read; closing may be done twice."""
        await self.write(key := secrets.token_hex(16))
        payload = await self.payloads.get(key)
        size = len(_CONTENT)
        self.assertEqual(payload.size, size)
        for start, end in ((0, size), (0, 1), (69_999, 70_002), (size - 1, size), (5, 5)):
            self.assertEqual(await payload.read(start, end), _CONTENT[start:end])
        payload.close()
        payload.close()

    async def test_small_ones_are_read_at_once(self) -> None:
        """What has few bytes comes with its content, and can be read as any other."""
        await self.write(key := secrets.token_hex(16))
        for most, content in ((len(_CONTENT), _CONTENT), (len(_CONTENT) - 1, None)):
            payload = await self.payloads.get(key, most)
            self.assertEqual((payload.size, payload.content), (len(_CONTENT), content))
            self.assertEqual(await payload.read(5, 80_000), _CONTENT[5:80_000])
            payload.close()

    async def test_parts_at_once(self) -> None:
        """Several parts can be read at once."""
        await self.write(key := secrets.token_hex(16))
        payload = await self.payloads.get(key)
        parts = [(start, start + 50_000) for start in range(0, 300_000, 50_000)]
        read = await gatherResults([payload.read(*part) for part in parts])
        payload.close()
        self.assertEqual(read, [_CONTENT[start:end] for start, end in parts])

    async def test_past_the_end(self) -> None:
        """A payload that ends before what is read is damaged."""
        await self.write(key := secrets.token_hex(16))
        payload = await self.payloads.get(key)
        await self.assertFailure(payload.read(0, len(_CONTENT) + 1), DamagedError)
        payload.close()

    async def test_a_key_is_used_once(self) -> None:
        """What is there is never written again."""
        await self.write(key := secrets.token_hex(16))
        await self.assertFailure(self.payloads.create(key), UnavailableError)
        payload = await self.payloads.get(key)
        self.assertEqual(await payload.read(0, len(_CONTENT)), _CONTENT)
        payload.close()

    async def test_removed(self) -> None:
        """A payload that was removed is missing; removing it again does nothing."""
        await self.write(key := secrets.token_hex(16))
        self.assertEqual(await self.payloads.remove([key]), {})
        self.assertEqual(await self.payloads.remove([key]), {})
        await self.assertFailure(self.payloads.get(key), DamagedError)

    async def test_removed_under_a_reader(self) -> None:
        """It can be read to its end by who has opened it before; or else it is missing."""
        await self.write(key := secrets.token_hex(16))
        payload = await self.payloads.get(key)
        self.assertEqual(await self.payloads.remove([key]), {})
        reading = payload.read(0, len(_CONTENT))
        if self.keeps_what_is_open:
            self.assertEqual(await reading, _CONTENT)
        else:
            await self.assertFailure(reading, DamagedError)
        payload.close()

    async def test_some_are_removed_at_once(self) -> None:
        """The others stay."""
        keys = [secrets.token_hex(16) for _ in range(4)]
        for key in keys:
            await self.write(key)
        self.assertEqual(await self.payloads.remove(keys[1:]), {})
        for key in keys[1:]:
            await self.assertFailure(self.payloads.get(key), DamagedError)
        (await self.payloads.get(keys[0])).close()

    async def test_read_in_order(self) -> None:
        """What is announced comes as anything else; what is read all the same does, too."""
        await self.write(key := secrets.token_hex(16))
        payload = await self.payloads.get(key)
        payload.read_ahead(10, 300_010)
        for start in range(10, 300_010, 100_000):
            self.assertEqual(
                await payload.read(start, start + 100_000), _CONTENT[start : start + 100_000]
            )
        payload.read_ahead(0, len(_CONTENT))
        self.assertEqual(await payload.read(0, 70_000), _CONTENT[:70_000])
        self.assertEqual(await payload.read(5, 9), _CONTENT[5:9])
        self.assertEqual(await payload.read(70_000, len(_CONTENT)), _CONTENT[70_000:])
        payload.read_ahead(0, len(_CONTENT))
        payload.close()

    async def test_the_size_that_was_announced(self) -> None:
        """It holds: what has fewer bytes was cut."""
        writer = await self.payloads.create(key := secrets.token_hex(16), len(_CONTENT))
        await writer.write(_PIECES)
        await writer.commit()
        payload = await self.payloads.get(key)
        self.assertEqual(await payload.read(0, payload.size), _CONTENT)
        payload.close()
        writer = await self.payloads.create(key := secrets.token_hex(16), len(_CONTENT) + 1)
        await writer.write(_PIECES)
        await self.assertFailure(writer.commit(), UnavailableError)
        self.assertEqual(await self.payloads.remove([key]), {})
        await self.assertFailure(self.payloads.get(key), DamagedError)

    async def test_listed(self) -> None:
        """What is there is listed, with its size, once it has been written."""
        keys = [secrets.token_hex(16) for _ in range(3)]
        for key in keys:
            await self.write(key)
        await self.payloads.remove(keys[2:])
        listed = [it async for page in self.payloads.listed() for it in page]
        self.assertEqual({it.key: it.size for it in listed}, dict.fromkeys(keys[:2], len(_CONTENT)))

    async def test_the_mark(self) -> None:
        """It is there once it has been written, if the store is apart."""
        if not self.payloads.is_apart:
            return
        self.assertIsNone(await self.payloads.read_mark())
        await self.payloads.write_mark("a" * 32)
        self.assertEqual(await self.payloads.read_mark(), "a" * 32)

    async def test_discarded(self) -> None:
        """What was discarded, and removed, is missing."""
        writer = await self.payloads.create(key := secrets.token_hex(16))
        await writer.write([b"abc"])
        await writer.discard()
        self.assertEqual(await self.payloads.remove([key]), {})
        await self.assertFailure(self.payloads.get(key), DamagedError)

    async def test_nothing_was_written(self) -> None:
        """Removing what was never made does nothing."""
        keys = [secrets.token_hex(16) for _ in range(3)]
        self.assertEqual(await self.payloads.remove(keys), {})
        self.assertEqual(await self.payloads.remove([]), {})

    async def test_an_empty_one(self) -> None:
        """A payload can be empty."""
        writer = await self.payloads.create(key := secrets.token_hex(16))
        await writer.commit()
        payload = await self.payloads.get(key)
        self.assertEqual(await payload.read(0, 0), b"")
        payload.close()
        payload = await self.payloads.get(key, 1)
        self.assertEqual(payload.content, b"")
        payload.close()
