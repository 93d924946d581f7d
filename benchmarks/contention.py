"""
What it costs to let other threads run in between: ``python -m benchmarks.contention``.

A thread that waits for the disk, for a statement of SQLite or for a cipher lets others have the
interpreter, and then has to wait for it. Here another thread is as busy as a reactor can be.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from blobman.crypto import IV_SIZE, Preamble, make_sealer
from blobman.local import batches, schema
from blobman.local.batches import Entry
from blobman.local.connection import connect
from blobman.local.payload_rows import Payload
from blobman.model import BlobKey, SyncStatus
from blobman.sqlite import pragma, transaction

SIZE = 10_000
TOGETHER = 64
ROUNDS = 8
SECRET = b"s" * 96


@contextmanager
def busy_thread() -> Iterator[None]:
    """Have a thread that always wants the interpreter."""
    is_over = threading.Event()

    def work() -> None:
        while not is_over.is_set():
            for _ in range(1000):
                pass

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def record(folder: Path, together: int) -> float:
    """Record blobs in one transaction, so many at a time; give the seconds for each."""
    connection = connect(str(folder / uuid4().hex), os.urandom(32))
    pragma(connection, "journal_mode=WAL")
    schema.upgrade(connection, "here")
    payload = Payload(SIZE, b"preamble", False, os.urandom(SIZE))
    with transaction(connection):
        began = time.perf_counter()
        for _ in range(0, ROUNDS * TOGETHER, together):
            keys = [BlobKey("", uuid4().hex) for _ in range(together)]
            entries = [Entry(key, payload, SyncStatus.PENDING_UPLOAD, 2) for key in keys]
            batches.add_new(connection, entries)
        seconds = time.perf_counter() - began
    connection.close()
    return seconds / (ROUNDS * TOGETHER)


def seal_in_pieces() -> float:
    """Seal blobs as blobman does; give the seconds for each."""
    content = os.urandom(SIZE)
    preamble = Preamble.for_blob("a", SIZE, os.urandom(IV_SIZE), 0).encode()
    return _mean(lambda: make_sealer(SECRET, preamble, SIZE).seal(content))


def seal_in_one_call() -> float:
    """Have the cipher seal as much in one call; give the seconds for each."""
    key, iv, content = os.urandom(32), os.urandom(IV_SIZE), os.urandom(SIZE)
    return _mean(lambda: AESGCM(key).encrypt(iv, content, None))


def _mean(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    for _ in range(ROUNDS * TOGETHER):
        work()
    return (time.perf_counter() - began) / (ROUNDS * TOGETHER)


def main() -> None:
    """Measure each alone and beside a busy thread."""
    with tempfile.TemporaryDirectory(prefix="benchmarks-", dir=".") as name:
        folder = Path(name).resolve()
        measures: dict[str, Callable[[], float]] = {
            "recording a blob of 10 kB, one at a time": lambda: record(folder, 1),
            f"the same, {TOGETHER} at a time": lambda: record(folder, TOGETHER),
            "a cipher's call for 10 kB": seal_in_one_call,
            "sealing a blob of 10 kB, in small pieces": seal_in_pieces,
        }
        print("| us for each | alone | beside a busy thread |")
        print("| --- | ---: | ---: |")
        for title, measure in measures.items():
            alone = measure()
            with busy_thread():
                contended = measure()
            print(f"| {title} | {alone * 1e6:,.0f} | {contended * 1e6:,.0f} |")


if __name__ == "__main__":
    main()
