"""
Two managers and two servers, driven at random through every kind of trouble.

Each step runs in the reactor's thread, against a real server through a proxy that cuts
connections; hypothesis runs in a thread of its own and waits for each step. One of the managers is
pointed at the other server now and then, which has data of its own, and may be an old one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import blockingCallFromThread, deferToThread
from twisted.python.failure import Failure

from blobman import (
    BlobAlreadyExistsError,
    BlobManager,
    BlobNotFoundError,
    ClosedError,
    MaximumRetriesError,
    RetriableTransferError,
    SyncStatus,
)
from blobman.server.running.configuration import make_service

from .ports import own_port
from .proxy import Fault, Proxy
from .support import ServerTestCase, content, doc

_reactor: Any = reactor

EXAMPLES = int(os.environ.get("BLOBMAN_TEST_EXAMPLES", "15"))
STEPS = 30
SIZES = [0, 1, 100, 5000, 70_000, 1_500_000]
CLIENTS = ("laptop", "phone")
TRAVELLER = "laptop"
SHARED = "shared"
"""What the ids begin with that each of the two uses again and again."""
NAMESPACES = ("", "mail")

clients = st.sampled_from(CLIENTS)
owners = st.sampled_from((*CLIENTS, SHARED))
namespaces = st.sampled_from(NAMESPACES)
numbers = st.integers(0, len(SIZES) - 1)
Key = tuple[str, str]


def data_of(key: Key, version: int = 0) -> bytes:
    """Return what is put: the same each time, unless the id is shared. Its number says the size."""
    return content(SIZES[int(key[1][-1])], f"{key!r} {version}")


def _on_server(key: Key) -> tuple[str, str]:
    namespace, blob_id = key
    return blob_id, namespace or "default"


class World:
    """The servers, the proxies, the clients, and what they should hold in the end."""

    def __init__(self, case: ServerTestCase, number: int) -> None:
        self.case = case
        self.number = number
        self.proxy = Proxy(case.port)
        self.elsewhere = Elsewhere(case, number)
        self.is_elsewhere = self.was_elsewhere = False
        self.managers: dict[str, BlobManager] = {}
        self.crashes = 0
        self.folders: dict[str, str] = {}
        self.alive: dict[Key, bool] = {}
        # Put, but the answer was lost: the owner may send it again after another client, which
        # found it on the server, has deleted it.
        self.unanswered: set[Key] = set()
        # Whether they are there in the end depends on who syncs first.
        self.uncertain: set[Key] = set()
        self.private: dict[str, set[Key]] = {name: set() for name in CLIENTS}
        self.tampered: dict[Key, bytes] = {}
        # How often each was put: the last one of those that are shared is to be everywhere.
        self.puts: dict[Key, int] = {}
        self.was_restored = False
        self.backups: dict[str, tuple[str, set[Key], set[Key]]] = {}
        self.following: dict[str, Deferred[None]] = {}
        self.server_backup: tuple[str, dict[Key, bytes]] | None = None
        # What has been put or deleted since.
        self.touched: set[Key] = set()
        # What was there when it was deleted; and what has come back since, with a server's backup.
        self.buried: set[Key] = set()
        # What anybody has asked to be deleted, wherever.
        self.condemned: set[Key] = set()
        self.risen: set[Key] = set()
        # What a get is to bring that met no answer.
        self.awaited: dict[str, set[Key]] = {name: set() for name in CLIENTS}

    async def start(self) -> None:
        await self.case.stop_server()
        self.case.data = os.path.join(self.case.folder, f"server-{self.number}")
        await self.case.start_server()
        self.proxy.target = self.case.port
        await self.proxy.start()
        await self.elsewhere.start()
        for name in CLIENTS:
            self.folders[name] = f"{name}-{self.number}"
            self.open(name)

    def open(self, name: str) -> None:
        is_elsewhere = self.is_elsewhere and name == TRAVELLER
        proxy = self.elsewhere.proxy if is_elsewhere else self.proxy
        self.managers[name] = self.case.manager(
            self.folders[name],
            remote=self.case.url_at(proxy.port),
            # One of the two uses streams.
            remote_stream=self.case.url_at(self.proxy.port, "stream") if name == "phone" else None,
            jitter=lambda seconds: seconds / 1000,
        )

    def follow(self, name: str, namespace: str | None) -> None:
        """Follow until something ends it: another rule, or that the manager is closed."""
        if name not in self.following:
            following = self.managers[name].follow(namespace, interval=0.01)
            self.following[name] = following
            following.addErrback(self.ended, name)

    def ended(self, failure: Failure, name: str) -> None:
        del self.following[name]
        failure.trap(CancelledError, ClosedError)

    async def end_following(self, name: str) -> None:
        if name in self.following:
            following = self.following[name]
            following.cancel()
            await following

    async def stop(self) -> None:
        for manager in self.managers.values():
            await manager.close()
        await self.proxy.stop()
        await self.elsewhere.stop()

    async def travel(self, is_elsewhere: bool) -> None:
        """Point one of the clients at another server, or at the one of both again."""
        await self.managers[TRAVELLER].close()
        self.is_elsewhere = is_elsewhere
        if is_elsewhere:
            # What is sent there, or deleted there, is neither here.
            self.was_elsewhere = self.was_restored = True
        self.risen |= self.buried
        self.open(TRAVELLER)

    async def put(self, name: str, key: Key, local_only: bool) -> None:
        namespace, blob_id = key
        self.touched.add(key)
        data = data_of(key, self.version(key, self.puts.get(key, 0) + 1))
        try:
            await self.managers[name].put(
                doc(data, blob_id), len(data), namespace, local_only=local_only
            )
        except BlobAlreadyExistsError:
            return
        except RetriableTransferError:
            self.unanswered.add(key)
        else:
            self.unanswered.discard(key)
        self.puts[key] = self.puts.get(key, 0) + 1
        if local_only:
            self.private[name].add(key)
        else:
            self.alive[key] = True

    @staticmethod
    def version(key: Key, number: int) -> int:
        return number if key[1].startswith(SHARED) else 0

    def is_a_version(self, data: bytes, key: Key) -> bool:
        numbers = range(self.puts.get(key, 0) + 2)
        return any(data == data_of(key, self.version(key, number)) for number in numbers)

    async def use_again(self, name: str, key: Key) -> None:
        """Another blob under the id, if it is clear that nobody has one that waits."""
        if key in self.uncertain | self.unanswered | self.tampered.keys():
            return
        if self.is_elsewhere and name == TRAVELLER:
            return
        await self.delete(name, key)
        if key not in self.uncertain:
            await self.put(name, key, local_only=False)
        if key in self.unanswered:
            self.uncertain.add(key)

    async def get(self, name: str, key: Key) -> None:
        namespace, blob_id = key
        try:
            found = await self.managers[name].get(blob_id, namespace)
        except MaximumRetriesError:
            assert key in self.tampered or self.was_restored, f"{key} did not verify"
        except BlobNotFoundError:
            assert key not in self.private[name], f"{key} is lost"
        except RetriableTransferError:
            self.awaited[name].add(key)
        else:
            assert self.is_a_version(found.read(), key), f"{key} is not what was put"

    async def delete(self, name: str, key: Key) -> None:
        namespace, blob_id = key
        self.touched.add(key)
        self.condemned.add(key)
        if key in self.private[name]:
            await self.managers[name].delete(blob_id, namespace)
            self.private[name].discard(key)
            return
        try:
            await self.managers[name].delete(blob_id, namespace)
        except BlobNotFoundError:
            return
        except RetriableTransferError:
            self.uncertain.add(key)
            self.buried.add(key)
            return
        self.alive[key] = False
        self.buried.add(key)
        if key in self.unanswered and name not in blob_id:
            self.uncertain.add(key)

    async def sync(self, name: str, namespace: str) -> None:
        try:
            await self.managers[name].sync(namespace)
        except MaximumRetriesError:
            assert self.tampered or self.was_restored
        except BlobAlreadyExistsError:
            # What waited when it was backed up is not what has been put since.
            assert self.was_restored
        except RetriableTransferError:
            return
        self.unanswered -= {
            key for key in self.unanswered if name in key[1] and namespace == key[0]
        }

    async def restart_server(self) -> None:
        await self.case.stop_server()
        await self.case.start_server()

    async def back_up_server(self) -> None:
        await self.case.stop_server()
        backup = self.case.data + "-backup"
        shutil.rmtree(backup, ignore_errors=True)
        shutil.copytree(self.case.data, backup, symlinks=True)
        self.server_backup = backup, dict(self.tampered)
        self.touched.clear()
        await self.case.start_server()

    async def restore_server(self) -> None:
        if self.server_backup is None:
            return
        await self.case.stop_server()
        backup, self.tampered = self.server_backup[0], dict(self.server_backup[1])
        shutil.rmtree(self.case.data)
        shutil.copytree(backup, self.case.data, symlinks=True)
        # What was put since is sent again by who has it; what was deleted since is there again.
        self.uncertain |= self.touched
        self.risen |= self.buried
        self.was_restored = True
        await self.case.start_server()

    async def crash(self, name: str) -> None:
        """The disk as it is now is all that is left of the client."""
        self.crashes += 1
        old = os.path.join(self.case.folder, self.folders[name])
        self.folders[name] = f"{name}-{self.number}-after-crash-{self.crashes}"
        new = os.path.join(self.case.folder, self.folders[name])
        os.makedirs(old, exist_ok=True)
        # Not what belongs to the running process only: what is left must do without.
        shutil.copytree(old, new, ignore=shutil.ignore_patterns("*-shm", "*.lock"))
        await self.managers[name].close()
        self.open(name)

    async def back_up_store(self, name: str) -> None:
        await self.managers[name].close()
        old = os.path.join(self.case.folder, self.folders[name])
        backup = old + "-backup"
        if os.path.exists(old):
            shutil.rmtree(backup, ignore_errors=True)
            shutil.copytree(old, backup)
            waiting = {key for key in self.unanswered if name in key[1]}
            self.backups[name] = (backup, set(self.private[name]), waiting)
        self.open(name)

    async def restore_store(self, name: str) -> None:
        if name not in self.backups:
            return
        backup, private, waiting = self.backups[name]
        await self.managers[name].close()
        self.crashes += 1
        self.folders[name] = f"{name}-{self.number}-restored-{self.crashes}"
        shutil.copytree(backup, os.path.join(self.case.folder, self.folders[name]))
        self.was_restored = True
        self.private[name] = set(private)
        # What waited then is sent again; what waits now is gone.
        lost = {key for key in self.unanswered if name in key[1]}
        self.uncertain |= waiting | lost
        self.unanswered |= waiting
        self.open(name)

    def tamper(self, key: Key, where: int) -> None:
        good = self.case.on_server(*_on_server(key))
        if key in self.tampered or good is None:
            return
        self.tampered[key] = good
        spot = where % len(good)
        bad = good[:spot] + bytes([good[spot] ^ 0x41]) + good[spot + 1 :]
        self.replace_on_server(key, bad)

    def replace_on_server(self, key: Key, content: bytes) -> None:
        blob_id, namespace = _on_server(key)
        self.case.replace_on_server(blob_id, content, namespace)

    def repair(self) -> None:
        for key, good in self.tampered.items():
            if self.case.on_server(*_on_server(key)) is not None:
                self.replace_on_server(key, good)

    async def settle(self) -> None:
        """After the last syncs, all agree."""
        for name in CLIENTS:
            await self.end_following(name)
        if self.is_elsewhere:
            await self.travel(False)
        self.proxy.faults = []
        self.repair()
        for name in (*CLIENTS, *CLIENTS):
            for namespace in NAMESPACES:
                await self.sync_at_last(name, namespace)
        # Sync leaves alone what did not verify; asking for it starts anew.
        for name in CLIENTS:
            manager = self.managers[name]
            for namespace in NAMESPACES:
                for blob_id in await manager.local_list_status(
                    SyncStatus.FAILED_DOWNLOAD, namespace
                ):
                    with contextlib.suppress(BlobNotFoundError):
                        await manager.get(blob_id, namespace)
        for namespace in NAMESPACES:
            await self.check(namespace)

    async def sync_at_last(self, name: str, namespace: str) -> None:
        try:
            await self.managers[name].sync(namespace)
        except BlobAlreadyExistsError:
            assert self.was_restored
        except BlobNotFoundError:
            # What was asked for in vain is not asked for again.
            awaited = {key for key in self.awaited[name] if key[0] == namespace}
            assert awaited
            self.awaited[name] -= awaited
            await self.sync_at_last(name, namespace)

    def may_be_left(self, namespace: str, tombstones: set[str]) -> set[str]:
        """
        Give the ids of copies that may stay here, though the server has deleted the blobs.

        A tombstone that was known before the blob came takes nothing: before the id was used again,
        or before a server's backup brought the blob back.
        """
        again = {key for key, count in self.puts.items() if count > 1} & self.buried
        return {i for ns, i in again | self.risen if ns == namespace} & tombstones

    async def check(self, namespace: str) -> None:
        laptop = self.managers["laptop"]
        there = set(await laptop.remote_list(namespace))
        tombstones = set(await laptop.remote_list(namespace, deleted=True))
        # What was deleted at one of two servers may come back from the other one. Nothing else may
        # be lost.
        unclear = self.uncertain | (self.condemned if self.was_elsewhere else set())
        for key, alive in self.alive.items():
            if key[0] == namespace and key not in unclear:
                assert (key[1] in there) == alive, f"{key}: alive should be {alive}"
        for name in CLIENTS:
            manager = self.managers[name]
            mine = {blob_id for ns, blob_id in self.private[name] if ns == namespace}
            assert not mine & there, f"{mine & there} should never have left"
            here = set(await manager.local_list(namespace))
            left = self.may_be_left(namespace, tombstones)
            assert there | mine <= here, f"{name}: {here}, not {there}"
            assert here <= there | mine | left, f"{name}: {here}, not {there}, nor {left}"
            for blob_id in here:
                key = (namespace, blob_id)
                found = (await manager.get(blob_id, namespace)).read()
                if key in unclear or blob_id not in there:
                    assert self.is_a_version(found, key)
                else:
                    latest = self.version(key, self.puts.get(key, 0))
                    assert found == data_of(key, latest), f"{name} has an old {key}"


class Elsewhere:
    """
    Another server, with data of its own, behind a proxy.

    :ivar proxy: it makes the server an old one, or a new one.
    """

    def __init__(self, case: ServerTestCase, number: int) -> None:
        data = os.path.join(case.folder, f"elsewhere-{number}")
        port = own_port(case)
        self.proxy = Proxy(port)
        self.proxy.is_old = True
        endpoint = f"tcp:{port}:interface=127.0.0.1"
        self._service = make_service(data, case.tokens, [endpoint], grace=0.0)

    async def start(self) -> None:
        self._service.startService()
        await self._service.when_listening()
        await self.proxy.start()

    async def stop(self) -> None:
        await self.proxy.stop()
        await self._service.stopService()


class Machine(RuleBasedStateMachine):
    case: ServerTestCase
    number = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).number += 1
        self.world = World(self.case, type(self).number)
        self.do(self.world.start())

    def do(self, step: Coroutine[Deferred[Any], Any, None]) -> None:
        begin: Callable[[], Any] = partial(Deferred.fromCoroutine, step)
        blockingCallFromThread(_reactor, begin)

    @rule(name=clients, namespace=namespaces, number=numbers)
    def put(self, name: str, namespace: str, number: int) -> None:
        self.do(self.world.put(name, (namespace, f"{name}-{number}"), local_only=False))

    @rule(name=clients, namespace=namespaces, number=numbers)
    def put_local_only(self, name: str, namespace: str, number: int) -> None:
        self.do(self.world.put(name, (namespace, f"only-{name}-{number}"), local_only=True))

    @rule(name=clients, owner=owners, namespace=namespaces, number=numbers)
    def get(self, name: str, owner: str, namespace: str, number: int) -> None:
        self.do(self.world.get(name, (namespace, f"{owner}-{number}")))

    @rule(name=clients, namespace=namespaces, number=numbers)
    def use_again(self, name: str, namespace: str, number: int) -> None:
        self.do(self.world.use_again(name, (namespace, f"{SHARED}-{number}")))

    @rule(name=clients)
    def back_up_store(self, name: str) -> None:
        self.do(self.world.back_up_store(name))

    @rule(name=clients)
    def restore_store(self, name: str) -> None:
        self.do(self.world.restore_store(name))

    @rule(name=clients, namespace=namespaces, number=numbers)
    def get_local_only(self, name: str, namespace: str, number: int) -> None:
        self.do(self.world.get(name, (namespace, f"only-{name}-{number}")))

    @rule(name=clients, owner=owners, namespace=namespaces, number=numbers)
    def delete(self, name: str, owner: str, namespace: str, number: int) -> None:
        self.do(self.world.delete(name, (namespace, f"{owner}-{number}")))

    @rule(name=clients, namespace=namespaces, number=numbers)
    def delete_local_only(self, name: str, namespace: str, number: int) -> None:
        key = (namespace, f"only-{name}-{number}")
        if key in self.world.private[name]:
            self.do(self.world.delete(name, key))

    @rule(name=clients, namespace=namespaces)
    def sync(self, name: str, namespace: str) -> None:
        self.do(self.world.sync(name, namespace))

    @rule(after=st.sampled_from([0, 50, 1000, 20_000, 1_000_000]), upward=st.booleans())
    def cut_the_next_connection(self, after: int, upward: bool) -> None:
        blockingCallFromThread(_reactor, self.cut, after, upward)

    def cut(self, after: int, upward: bool) -> None:
        # Connections that are kept would not meet the fault.
        for side in list(self.world.proxy.sides):
            side.abort()
        self.world.proxy.faults = [Fault(after, upward)]

    @rule(name=clients, namespace=st.sampled_from((*NAMESPACES, None)))
    def follow(self, name: str, namespace: str | None) -> None:
        blockingCallFromThread(_reactor, self.world.follow, name, namespace)

    @rule(name=clients)
    def end_following(self, name: str) -> None:
        self.do(self.world.end_following(name))

    @rule(is_old=st.booleans())
    def serve_as_an_old_one(self, is_old: bool) -> None:
        """From now on, it answers as one that does not know of changes; or does again."""
        self.world.proxy.is_old = is_old

    @rule(is_elsewhere=st.booleans())
    def travel(self, is_elsewhere: bool) -> None:
        self.do(self.world.travel(is_elsewhere))

    @rule(is_old=st.booleans())
    def find_another_version_elsewhere(self, is_old: bool) -> None:
        self.world.elsewhere.proxy.is_old = is_old

    @rule()
    def restart_server(self) -> None:
        self.do(self.world.restart_server())

    @rule()
    def back_up_server(self) -> None:
        self.do(self.world.back_up_server())

    @rule()
    def restore_server(self) -> None:
        self.do(self.world.restore_server())

    @rule(name=clients)
    def crash(self, name: str) -> None:
        self.do(self.world.crash(name))

    @rule(owner=owners, namespace=namespaces, number=numbers, where=st.integers(0, 2**20))
    def tamper(self, owner: str, namespace: str, number: int, where: int) -> None:
        self.world.tamper((namespace, f"{owner}-{number}"), where)

    def teardown(self) -> None:
        try:
            self.do(self.world.settle())
        finally:
            self.do(self.world.stop())


class StateMachineTests(ServerTestCase):
    def test_random_histories(self) -> Deferred[None]:
        settings = hypothesis.settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            derandomize="BLOBMAN_TEST_RANDOM" not in os.environ,
            print_blob=True,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        machine = type("ThisMachine", (Machine,), {"case": self})
        return deferToThread(run_state_machine_as_test, machine, settings=settings)
