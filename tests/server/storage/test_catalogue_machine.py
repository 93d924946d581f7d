"""A catalogue does what a few dictionaries do, whatever is done in whatever order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar, cast

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from blobman.errors import BlobAlreadyExistsError, BlobNotFoundError, QuotaExceededError
from blobman.model import Flags
from blobman.server.storage.catalogue.interface import LEASE, Publication
from blobman.server.storage.catalogue.sqlite import SQLiteCatalogue
from blobman.server.storage.catalogue.transaction import SECOND
from blobman.server.storage.interface import BlobName, UnavailableError
from blobman.server.storage.payloads.interface import LINGER
from blobman.testing.contracts.support import query, sealed

T = TypeVar("T")
Changed = tuple[int, str, "int | None", tuple[Flags, ...]]

USERS, NAMESPACES, IDS = ("alice", "bob"), ("default", "mail"), ("a", "b", "c", "d")
NAMES = st.builds(
    BlobName, st.sampled_from(USERS), st.sampled_from(NAMESPACES), st.sampled_from(IDS)
)
FLAGS = st.lists(st.sampled_from(Flags), max_size=3)
SIZES = st.integers(1, 400)


def result_of(deferred: Deferred[T]) -> T | BaseException:
    """Give what a Deferred has fired with, or failed with."""
    results: list[Any] = []
    deferred.addBoth(results.append)
    (result,) = results
    outcome: Any = result.value if isinstance(result, Failure) else result
    return cast("T | BaseException", outcome)


@dataclass
class Blob:
    number: int
    put: int
    content: bytes | None
    size: int
    key: str | None
    flags: list[Flags]
    reused: bool


@dataclass
class Reserved:
    user: str
    size: int
    until: int


class CatalogueMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.seconds = 1_000_000
        self.catalogue = SQLiteCatalogue(now=lambda: self.seconds * SECOND)
        self.catalogue.open()
        self.blobs: dict[BlobName, Blob] = {}
        self.deleted: dict[BlobName, int] = {}
        self.uploads: dict[str, Reserved] = {}
        self.garbage: dict[str, int] = {}
        self.quotas: dict[str | None, int | None] = {}
        self.last = 0
        self.keys = 0

    def teardown(self) -> None:
        self.catalogue.close()

    def free(self, user: str) -> float:
        """How many bytes a user may still keep."""
        quota = self.quotas.get(user, self.quotas.get(None))
        used = sum(blob.size for name, blob in self.blobs.items() if name.user == user)
        reserved = sum(it.size for it in self.uploads.values() if it.user == user)
        return float("inf") if quota is None else quota - used - reserved

    def expect_put(self, name: BlobName, size: int) -> type[Exception] | None:
        if name in self.blobs:
            return BlobAlreadyExistsError
        return QuotaExceededError if size > self.free(name.user) else None

    def put(self, name: BlobName, size: int, content: bytes | None, key: str | None) -> None:
        self.last += 1
        reused = self.deleted.pop(name, None) is not None
        self.blobs[name] = Blob(self.last, self.last, content, size, key, [], reused)

    # -- what is done --------------------------------------------------------------------

    @rule(wanted=st.lists(st.tuples(NAMES, SIZES), min_size=1, max_size=5))
    def publish(self, wanted: list[tuple[BlobName, int]]) -> None:
        blobs = [(name, sealed(f"{name}{self.last}", size)) for name, size in wanted]
        outcomes = result_of(
            self.catalogue.publish([Publication(name, len(it), it[-16:], it) for name, it in blobs])
        )
        assert isinstance(outcomes, list)
        for (name, content), outcome in zip(blobs, outcomes, strict=True):
            expected = self.expect_put(name, len(content))
            assert isinstance(outcome, expected or type(None)), (name, outcome, expected)
            if expected is None:
                self.put(name, len(content), content, None)

    @rule(name=NAMES)
    def delete(self, name: BlobName) -> None:
        outcome = result_of(self.catalogue.delete(name))
        blob = self.blobs.pop(name, None)
        if blob is None:
            assert isinstance(outcome, BlobNotFoundError)
            return
        assert outcome is None
        self.last += 1
        self.deleted[name] = self.last
        if blob.key is not None:
            self.garbage[blob.key] = self.seconds + LINGER

    @rule(name=NAMES, flags=FLAGS)
    def set_flags(self, name: BlobName, flags: list[Flags]) -> None:
        outcome = result_of(self.catalogue.set_flags(name, flags))
        if name not in self.blobs:
            assert isinstance(outcome, BlobNotFoundError)
            return
        assert outcome is None
        self.last += 1
        self.blobs[name].number, self.blobs[name].flags = self.last, flags

    @rule(name=NAMES, size=SIZES)
    def reserve(self, name: BlobName, size: int) -> None:
        self.keys += 1
        key = f"{self.keys:032}"
        outcome = result_of(self.catalogue.reserve(name, key, size))
        expected = self.expect_put(name, size)
        assert isinstance(outcome, expected or type(None))
        if expected is None:
            self.uploads[key] = Reserved(name.user, size, self.seconds + LEASE)

    @rule(data=st.data(), name=NAMES, less=st.integers(0, 100))
    def publish_large(self, data: st.DataObject, name: BlobName, less: int) -> None:
        keys = sorted(key for key, it in self.uploads.items() if it.user == name.user)
        if not keys:
            return
        key = data.draw(st.sampled_from(keys))
        size = max(1, self.uploads[key].size - less)
        blob = Publication(name, size, b"t" * 16, key=key, digests=b"d" * 16)
        outcomes = result_of(self.catalogue.publish([blob]))
        assert isinstance(outcomes, list)
        del self.uploads[key]
        if name in self.blobs:
            assert isinstance(outcomes[0], BlobAlreadyExistsError)
            self.garbage[key] = 0
        else:
            assert outcomes == [None]
            self.put(name, size, None, key)

    @rule(data=st.data(), size=SIZES)
    def extend(self, data: st.DataObject, size: int) -> None:
        key = data.draw(st.sampled_from([*sorted(self.uploads), "f" * 32]))
        upload = self.uploads.get(key)
        outcome = result_of(self.catalogue.extend(key, size))
        if upload is None:
            assert isinstance(outcome, UnavailableError)
        elif size - upload.size > max(0, self.free(upload.user)):
            assert isinstance(outcome, QuotaExceededError)
        else:
            assert outcome is None
            upload.size, upload.until = size, self.seconds + LEASE

    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        used = [blob.key for blob in self.blobs.values() if blob.key]
        key = data.draw(st.sampled_from([*sorted([*self.uploads, *self.garbage, *used]), "f" * 32]))
        outcome = result_of(self.catalogue.abandon(key))
        if self.uploads.pop(key, None):
            self.garbage[key] = 0
        assert outcome == (self.garbage.get(key) == 0)

    @rule(seconds=st.integers(0, 2 * LEASE), renewed=st.booleans(), forgotten=st.booleans())
    def collect(self, seconds: int, renewed: bool, forgotten: bool) -> None:
        if renewed:
            self.catalogue.renew(list(self.uploads))
            for upload in self.uploads.values():
                upload.until = self.seconds + LEASE
        self.seconds += seconds
        for key in [key for key, it in self.uploads.items() if it.until < self.seconds]:
            del self.uploads[key]
            self.garbage[key] = 0
        found = result_of(self.catalogue.collect(1000))
        assert isinstance(found, list)
        assert set(found) == {key for key, due in self.garbage.items() if due <= self.seconds}
        if forgotten:
            self.catalogue.forget(found)
            for key in found:
                del self.garbage[key]

    @rule(user=st.sampled_from((None, *USERS)), size=st.none() | st.integers(0, 1000))
    def set_quota(self, user: str | None, size: int | None) -> None:
        self.catalogue.set_quota(user, size)
        self.quotas[user] = size

    @rule(user=st.sampled_from(USERS))
    def unset_quota(self, user: str) -> None:
        self.catalogue.unset_quota(user)
        self.quotas.pop(user, None)

    # -- what can be seen ------------------------------------------------------------------

    def place(self, user: str, namespace: str) -> dict[str, Blob]:
        return {it.blob_id: blob for it, blob in self.blobs.items() if it[:2] == (user, namespace)}

    @invariant()
    def what_is_found(self) -> None:
        for user in USERS:
            for namespace in NAMESPACES:
                names = [BlobName(user, namespace, blob_id) for blob_id in IDS]
                for name in names:
                    found = result_of(self.catalogue.find([name], 1))
                    blob = self.blobs.get(name)
                    assert isinstance(found, list)
                    (entry,) = found
                    assert (entry and (entry.content, entry.key, entry.size)) == (
                        blob and (blob.content, blob.key, blob.size)
                    )

    @invariant()
    def what_is_listed(self) -> None:
        for user in USERS:
            for namespace in NAMESPACES:
                here = self.place(user, namespace)
                gone = {it.blob_id for it in self.deleted if it[:2] == (user, namespace)}
                gone |= {blob_id for blob_id, blob in here.items() if blob.reused}
                by_date = [it for _, it in sorted((blob.put, it) for it, blob in here.items())]
                self.check_list(user, sorted(here), namespace=namespace)
                self.check_list(user, by_date, namespace=namespace, order_by="date")
                self.check_list(user, by_date[::-1], namespace=namespace, order_by="-date")
                self.check_list(user, sorted(gone), namespace=namespace, deleted=True)
                for flag in Flags:
                    flagged = [it for it in sorted(here) if flag in here[it].flags]
                    self.check_list(user, flagged, namespace=namespace, flag=flag)

    def check_list(self, user: str, expected: list[str], **fields: Any) -> None:
        asked = query(**fields)
        ids: list[str] = []
        page: Any = result_of(self.catalogue.page(user, asked, None, 3))
        ids += page.ids
        while page.after is not None:
            page = result_of(self.catalogue.page(user, asked, page.after, 3))
            ids += page.ids
        assert ids == expected, (fields, ids, expected)
        assert result_of(self.catalogue.count(user, asked)) == len(expected)

    @invariant()
    def what_has_changed(self) -> None:
        numbers = []
        for user in USERS:
            for namespace in NAMESPACES:
                expected: list[Changed] = [
                    (it.number, blob_id, it.size, tuple(it.flags))
                    for blob_id, it in self.place(user, namespace).items()
                ]
                expected += [
                    (number, name.blob_id, None, ())
                    for name, number in self.deleted.items()
                    if name[:2] == (user, namespace)
                ]
                changes: Any = result_of(self.catalogue.changes(user, namespace, 0, 100))
                found = [(it.number, it.blob_id, it.size, it.flags) for it in changes]
                assert found == sorted(expected)
                history: Any = result_of(self.catalogue.history(user, namespace))
                numbers.append(history.number)
        assert max(numbers) == self.last

    @invariant()
    def what_is_used(self) -> None:
        usage = result_of(self.catalogue.usage())
        assert isinstance(usage, list)
        expected = []
        for user in USERS:
            sizes = [blob.size for name, blob in self.blobs.items() if name.user == user]
            if sizes:
                quota = self.quotas.get(user, self.quotas.get(None))
                expected.append((user, len(sizes), sum(sizes), quota))
        assert usage == expected


class MachineTests(SynchronousTestCase):
    def test_machine(self) -> None:
        run_state_machine_as_test(
            CatalogueMachine,
            settings=settings(
                max_examples=60,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                derandomize=True,
                database=None,
            ),
        )
