"""Comparing what is here with what the server has."""

from __future__ import annotations

import base64
from typing import Any

from blobman import (
    BlobNotFoundError,
    ClosedError,
    InvalidBlob,
    NotConfiguredError,
    RetriableTransferError,
)
from blobman.crypto import Method, Preamble, Scheme

from .support import MB, ServerTestCase, content, doc


class VerifyTests(ServerTestCase):
    async def test_the_same(self) -> None:
        laptop = self.manager()
        for size in (0, 1, 3 * MB):
            await laptop.put(doc(content(size), f"x{size}"), size, namespace="n")
            self.assertIs(await laptop.verify(f"x{size}", "n"), True)
            self.assertIs(await laptop.verify(f"x{size}", "n", deep=True), True)
        self.assertEqual(await laptop.sync_progress, {"SYNCED": 3})

    async def test_what_was_fetched(self) -> None:
        await self.manager("laptop").put(doc(b"content", "x"), 7)
        phone = self.manager("phone")
        await phone.get("x")
        self.assertTrue(await phone.verify("x", deep=True))

    async def test_another_tag(self) -> None:
        laptop = self.manager()
        await laptop.put(doc(content(MB), "x"), MB)
        self.change_on_server("x", -1)
        self.assertIs(await laptop.verify("x"), False)
        self.assertIs(await laptop.verify("x", deep=True), False)

    async def test_other_content_under_the_same_tag(self) -> None:
        laptop = self.manager()
        await laptop.put(doc(content(MB), "x"), MB)
        self.change_on_server("x", MB // 2)
        self.assertTrue(await laptop.verify("x"))
        with self.assertRaises(InvalidBlob):
            await laptop.verify("x", deep=True)
        self.assertEqual((await laptop.get("x")).read(), content(MB))

    async def test_another_blob(self) -> None:
        laptop = self.manager("laptop")
        await laptop.put(doc(b"ours", "x"), 4)
        self.remove_from_server("x")
        await self.stop_server()
        await self.start_server()
        await self.manager("phone").put(doc(b"theirs", "x"), 6)
        self.assertIs(await laptop.verify("x"), False)

    async def test_missing_there(self) -> None:
        laptop = self.manager()
        await laptop.put(doc(b"content", "x"), 7)
        await self.manager("phone").delete("x")
        with self.assertRaises(BlobNotFoundError):
            await laptop.verify("x")

    async def test_missing_here(self) -> None:
        await self.manager("laptop").put(doc(b"content", "x"), 7)
        phone = self.manager("phone")
        with self.assertRaises(BlobNotFoundError) as caught:
            await phone.verify("x", deep=True)
        self.assertIn("not here", str(caught.exception))
        self.assertEqual(await phone.sync_progress, {})

    async def test_local_only(self) -> None:
        laptop = self.manager()
        await laptop.put(doc(b"content", "x"), 7, local_only=True)
        await self.stop_server()
        with self.assertRaises(BlobNotFoundError) as caught:
            await laptop.verify("x")
        self.assertIn("only here", str(caught.exception))

    async def test_being_deleted(self) -> None:
        laptop = self.manager()
        await laptop.put(doc(b"content", "x"), 7)
        await self.stop_server()
        with self.assertRaises(RetriableTransferError):
            await laptop.delete("x")
        with self.assertRaises(BlobNotFoundError) as caught:
            await laptop.verify("x")
        self.assertIn("being deleted", str(caught.exception))

    async def test_external(self) -> None:
        armored = b"-----BEGIN PGP MESSAGE-----\n" + content(2 * MB)
        preamble = Preamble(Scheme.EXTERNAL, Method.PGP, 0, bytes(16), "mail", "0", len(armored))
        stored = base64.urlsafe_b64encode(preamble.encode()) + b" " + armored
        await self.put_on_server("mail", stored, "MX")
        phone = self.manager(external_namespaces=["MX"])
        await phone.get("mail", "MX")
        self.assertTrue(await phone.verify("mail", "MX"))
        self.assertTrue(await phone.verify("mail", "MX", deep=True))
        self.change_on_server("mail", MB, "MX")
        # Nothing of what others sealed can be verified, but it can be compared.
        self.assertIs(await phone.verify("mail", "MX", deep=True), False)

    async def test_a_server_that_is_down(self) -> None:
        laptop = self.manager()
        await laptop.put(doc(b"content", "x"), 7)
        await self.stop_server()
        for deep in (False, True):
            with self.assertRaises(RetriableTransferError):
                await laptop.verify("x", deep=deep)

    async def test_it_takes_both(self) -> None:
        without: tuple[dict[str, Any], ...] = {"remote": None}, {"local_path": None, "key": None}
        for options in without:
            with self.assertRaises(NotConfiguredError):
                await self.manager(**options).verify("x")
        manager = self.manager()
        with self.assertRaises(ValueError):
            await manager.verify("a/b")
        await manager.close()
        with self.assertRaises(ClosedError):
            await manager.verify("x")
