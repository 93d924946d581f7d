"""Transfers through a network that cuts, stalls and slows, at every phase, over TCP and TLS."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred

from blobman import BlobManager, RetriableTransferError, SyncStatus

from .proxy import Fault, Proxy
from .support import MB, ReactorWithClock, ServerTestCase, content, doc

SIZE = 2 * MB


class FaultyNetworkTests(ServerTestCase):
    """
    Thresholds are in bytes on the wire.

    :cvar handshake: bytes that a client and a server send before the first of ours, at least.
    """

    handshake = 0

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.proxy = Proxy(self.port)
        await self.proxy.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.proxy.stop()))

    def through_proxy(self, name: str, **options: Any) -> BlobManager:
        stream = self.url_at(self.proxy.port, "stream") if self.streams else None
        remote = self.url_at(self.proxy.port)
        return self.manager(name, remote=remote, remote_stream=stream, **options)

    async def blob_on_the_server(self) -> bytes:
        data = content(SIZE)
        await self.manager("first").put(doc(data, "x"), SIZE)
        return data

    def phases(self, upward: bool) -> list[Fault]:
        """Before the headers, within them, in the body, and at its very end."""
        end = SIZE + self.handshake
        return [Fault(after, upward) for after in (0, self.handshake + 20, 5000, SIZE // 2, end)]

    async def check_upload(self, fault: Fault) -> None:
        self.proxy.faults = [fault]
        blob_id = f"{'up' if fault.upward else 'down'}-{fault.after}"
        laptop = self.through_proxy(f"laptop-{blob_id}", jitter=lambda _: 0.0)
        data = content(SIZE, blob_id)
        try:
            await laptop.put(doc(data, blob_id), SIZE)
        except RetriableTransferError:
            assert laptop.local is not None
            self.assertEqual(
                await laptop.local.get_sync_status(blob_id), (SyncStatus.PENDING_UPLOAD, 0)
            )
        self.assertEqual(self.proxy.strikes.pop(), "cut")
        await laptop.sync()
        self.assertEqual(await laptop.sync_progress, {"SYNCED": 1})
        self.assertEqual((await self.manager(f"phone-{blob_id}").get(blob_id)).read(), data)
        await laptop.delete(blob_id)

    async def test_uploads_are_cut(self) -> None:
        for fault in self.phases(upward=True):
            await self.check_upload(fault)

    async def test_the_answer_to_an_upload_is_cut(self) -> None:
        # What comes back after the whole body is the answer: the server has the blob by then.
        for after in (0, 10):
            await self.check_upload(Fault(after, upward=False, once_up=SIZE))

    async def test_downloads_are_cut(self) -> None:
        data = await self.blob_on_the_server()
        for fault in [*self.phases(upward=False), Fault(0, True), Fault(30, True)]:
            self.proxy.faults = [fault]
            phone = self.through_proxy(f"phone-{fault.after}-{fault.upward}", jitter=lambda _: 0.0)
            try:
                await phone.get("x")
            except RetriableTransferError:
                self.assertEqual(await phone.local_list(), [])
            else:
                # On a connection that was kept since the question for streams, and so made again.
                self.assertTrue(self.streams)
            self.assertEqual(self.proxy.strikes.pop(), "cut")
            await phone.sync()
            self.assertEqual((await phone.get("x")).read(), data)

    async def test_sync_goes_on_through_one_cut_after_another(self) -> None:
        data = await self.blob_on_the_server()
        phone = self.through_proxy("phone", jitter=lambda _: 0.0)
        assert phone.local is not None
        await phone.refresh_sync_status_from_server()
        await self.proxy.stop()
        self.proxy = Proxy(self.port)
        await self.proxy.start()
        phone = self.through_proxy("phone-2", jitter=lambda _: 0.0)
        await phone.local.update_sync_status("x", SyncStatus.PENDING_DOWNLOAD)  # type: ignore[union-attr]
        self.proxy.faults = [Fault(self.handshake + 3000 * n, upward=False) for n in range(8)]
        await phone.fetch_missing()
        self.assertEqual(self.proxy.connections, 9)
        self.assertEqual((await phone.get("x")).read(), data)

    async def stall(self, fault: Fault, blob_id: str) -> None:
        self.proxy.faults = [fault]
        time = ReactorWithClock()
        name = f"stalled-{fault.after}-{fault.upward}-{blob_id}"
        manager = self.through_proxy(name, reactor=time, idle_timeout=60)
        stalled = self.proxy.next_strike()
        transfer: Deferred[Any]
        if blob_id == "x":
            transfer = manager.get("x")
        else:
            transfer = manager.put(doc(content(SIZE), blob_id), SIZE)
        await stalled
        time.clock.advance(59)
        self.assertFalse(transfer.called)
        # What the network holds is still filling up: after each bit of that it counts anew.
        while not transfer.called:
            await self.turn()
            time.clock.advance(1)
        with self.assertRaises(RetriableTransferError) as caught:
            await transfer
        self.assertIn("60 seconds", str(caught.exception))
        await manager.close()
        self.assertEqual(time.clock.getDelayedCalls(), [])

    async def test_stalled_downloads(self) -> None:
        await self.blob_on_the_server()
        for after in (0, self.handshake + 50, SIZE // 2):
            await self.stall(Fault(after, False, "stall"), "x")

    async def test_stalled_uploads(self) -> None:
        for after in (0, self.handshake + 20, SIZE // 2):
            await self.stall(Fault(after, True, "stall"), f"y{after}")

    async def test_answer_to_an_upload_stalls(self) -> None:
        await self.stall(Fault(0, False, "stall", once_up=SIZE), "late")

    async def test_slow_is_not_idle(self) -> None:
        data = content(200_000)
        self.proxy.piece = 10_000
        laptop = self.through_proxy("laptop")
        await laptop.put(doc(data, "slow"), len(data))
        phone = self.through_proxy("phone")
        self.assertEqual((await phone.get("slow")).read(), data)

    async def cancelled(self, transfer: Deferred[Any]) -> None:
        transfer.cancel()
        with self.assertRaises(CancelledError):
            await transfer

    async def test_cancelling_closes_the_connection(self) -> None:
        await self.blob_on_the_server()
        for number, (after, upward) in enumerate(
            [(0, True), (0, False), (SIZE // 2, True), (SIZE // 2, False)]
        ):
            self.proxy.faults = [Fault(after, upward, "stall")]
            manager = self.through_proxy(f"cancelled-{number}")
            stalled = self.proxy.next_strike()
            transfer: Deferred[Any]
            getting = not upward
            if getting:
                transfer = manager.get("x")
            else:
                transfer = manager.put(doc(content(SIZE), f"y-{number}"), SIZE)
            await stalled
            before = {} if getting else {"PENDING_UPLOAD": 1}
            await self.cancelled(transfer)
            self.assertEqual(await manager.sync_progress, before)
            await self.gone()

    async def gone(self) -> None:
        """The client's end of each connection is closed. A turn or two, as TCP has it."""
        for _ in range(1000):
            if not self.proxy.client_ends():
                return
            await self.turn()
        self.fail("a connection is left")

    async def turn(self) -> None:
        """Let the reactor do what there is to do."""
        turn: Deferred[None] = Deferred()
        reactor.callLater(0, turn.callback, None)
        await turn


class FaultyNetworkOverTLSTests(FaultyNetworkTests):
    tls = True
    handshake = 2500


class FaultyNetworkInStreamsTests(FaultyNetworkTests):
    streams = True
