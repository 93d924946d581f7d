"""What an application calls; the one place that puts the parts together."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from .arguments import (
    check_bool,
    check_doc,
    check_jitter,
    check_namespaces,
    check_observer,
    check_path,
    check_rate,
    check_reactor,
    check_seconds,
    check_status,
    check_token,
)
from .clocks import steady_clock
from .crypto import Seals, sealed_size
from .document import BlobDoc, BlobReader
from .errors import (
    BlobNotFoundError,
    DeletedMeanwhile,
    ExternalBlobError,
    IllegalStatusChange,
    NotConfiguredError,
    describe,
)
from .interfaces import ITransferObserver
from .local import BlobStore, as_bytes
from .model import BlobKey, Priority, SyncStatus, check_key, check_name, check_namespace
from .queries import ServerQueries
from .remote import IDLE_TIMEOUT, BlobsClient, BlobsStream, Exchanges, Throttle, server_urls
from .transfers.engine import Engine
from .transfers.operations import follow
from .transfers.puts import new_preamble
from .transfers.retry import Jitter

__all__ = ["BlobManager"]


def _subtract_up_to_a_quarter(seconds: float) -> float:
    return seconds * random.uniform(0.75, 1.0)


class BlobManager(ServerQueries):
    """
    A user's private blobs: here in an encrypted store, and sealed on a server.

    Every method that can wait returns a Deferred: it can be awaited, chained and cancelled.
    Besides what each method lists, a Deferred can fail with

    - ``ValueError`` or ``TypeError``: an argument is wrong; the message names it;
    - ``NotConfiguredError``: there is no local store, or no remote, and it takes one;
    - ``ClosedError``: the manager has been closed; ``CancelledError``: it was cancelled;
    - ``StoreError`` where the store is used: the database is locked, full or damaged;
      ``WrongKeyError``: the key does not open it;
    - ``UnauthorizedError``, ``CertificateError``, ``RetriableTransferError`` or ``ServerError``
      where the server is asked.

    :cvar concurrent_writes_limit: how many blobs are written to the store at a time.
    :ivar remote: the base URL that was given.
    :ivar remote_stream: the base URL of streams that was given.
    :ivar user: the user.
    """

    concurrent_writes_limit = 100

    def __init__(
        self,
        local_path: str | os.PathLike[str] | None,
        remote: str | None,
        key: str | bytes | None,
        secret: str | bytes,
        user: str,
        token: str | None = None,
        cert_file: str | os.PathLike[str] | None = None,
        remote_stream: str | None = None,
        *,
        reactor: Any = None,
        observer: ITransferObserver | None = None,
        idle_timeout: float = IDLE_TIMEOUT,
        jitter: Jitter = _subtract_up_to_a_quarter,
        limit_rate: float | None = None,
        allow_insecure: bool = False,
        bind: bool = True,
        external_namespaces: Iterable[str] = (),
    ) -> None:
        """
        Nothing is read, written or connected yet.

        :param local_path: the folder of the database, ``{user}_blobs.db``; made as needed.
            Empty or None: no local store.
        :param remote: the base URL of the server's blobs, such as ``https://host/blobs/``, or
            ``https://host/blobs/{user}`` without a slash at its end. ``http`` is for servers on
            this machine. Empty or None: no server.
        :param key: what opens the database; not empty. May be None without a local store.
        :param secret: what blobs are sealed with; more than 64 bytes, the same on every machine
            that is to read them. A ``str`` is taken as Latin-1.
        :param user: the user's id on the server, and in the database's name.
        :param token: what the server knows the user by.
        :param cert_file: a PEM file of the only authorities that are trusted for TLS; None for
            those of the platform.
        :param remote_stream: the base URL of the server's streams, such as
            ``https://host/stream/``; if given, small blobs travel many to a request. At the host
            of ``remote``, and over TLS if that is.
        :param reactor: None for the global one.
        :param observer: is told of every transfer.
        :param idle_timeout: seconds without any progress after which an exchange with the server
            is given up.
        :param jitter: takes and gives the seconds before another attempt.
        :param limit_rate: see the property of that name.
        :param allow_insecure: take ``http`` to other machines, too. Whoever listens on the way
            learns the token.
        :param bind: say in each seal to which user and namespace the blob belongs, so that it is
            opened nowhere else. With False, new blobs are sealed as Soledad sealed them, byte for
            byte: before version 0.2, blobman opens no others; those that say it are opened only
            where they belong all the same.
        :param external_namespaces: where blobs are expected that others sealed, such as incoming
            mail. They have no seal of the user's, so a server can make them up: anywhere else,
            they do not verify.
        :raise ValueError: or ``TypeError``: an argument is wrong; the message names it.
        :raise OSError: ``cert_file`` can't be read.
        """
        if reactor is None:
            from twisted.internet import reactor
        check_reactor(reactor)
        self.user = check_name("user", user)
        self.remote, self.remote_stream = remote, remote_stream
        blobs_url, streams_url = server_urls(remote, remote_stream, user, allow_insecure)
        check_token(token)
        if cert_file is not None:
            check_path("cert_file", cert_file)
        check_observer(observer)
        check_jitter(jitter)
        check_seconds("idle_timeout", idle_timeout)
        clock = steady_clock(reactor)
        self._throttle = Throttle(clock, check_rate(limit_rate))
        check_bool("bind", bind)
        external = check_namespaces("external_namespaces", external_namespaces)
        self.__seals = seals = Seals(secret, user, external)
        local = None
        if key is not None:
            as_bytes(key)
        if local_path not in (None, ""):
            if key is None:
                raise TypeError("key must be given with a local_path")
            folder = check_path("local_path", local_path)
            local = BlobStore(folder, user, key, reactor=reactor, external_namespaces=external)
        client = stream = None
        if blobs_url is not None:
            exchanges = Exchanges(reactor, user, token, cert_file, idle_timeout, self._throttle)
            client = BlobsClient(exchanges, blobs_url, seals)
            if streams_url is not None:
                stream = BlobsStream(exchanges, streams_url, seals)
        sealing = partial(new_preamble, seals.binding if bind else None)
        self.__engine = Engine(local, client, stream, sealing, clock, jitter, observer, self)
        super().__init__(self.__engine)

    def __repr__(self) -> str:
        return f"<BlobManager of {self.user} at {self.remote}>"

    @property
    def limit_rate(self) -> float | None:
        """
        How many bytes of blobs may travel in a second, both ways and all together; None for no
        limit. May be set at any time, and counts at once. Wrong values raise ``ValueError`` or
        ``TypeError``.
        """
        return self._throttle.rate

    @limit_rate.setter
    def limit_rate(self, rate: float | None) -> None:
        self._throttle.rate = check_rate(rate)

    def close(self) -> Deferred[None]:
        """
        Cancel what is under way, close the connections and the database. May be called twice.

        :return: fires with None when no connection, thread or delayed call is left.
        """
        if self._closing is None:
            self._closing = Deferred.fromCoroutine(self.__engine.close())
        return follow(self._closing)

    # -- blobs -------------------------------------------------------------------------

    def put(
        self,
        doc: BlobDoc,
        size: int,
        namespace: str = "",
        local_only: bool = False,
        priority: Priority | int | str = Priority.DEFAULT,
    ) -> Deferred[None]:
        """
        Store a new blob, then upload it.

        :param doc: the content and its id. The file is read from its start, in a thread unless
            it is small and in memory; don't use it until the Deferred fires.
        :param size: how many bytes the file holds.
        :param local_only: never upload it.
        :param priority: how urgent the upload is.
        :return: fires with None when the blob is durable on the server (in the store, if local
            only). Fails with ``BlobAlreadyExistsError``: the id is taken, here or there;
            ``WrongSizeError`` or ``UnreadableContentError``: nothing was stored;
            ``QuotaExceededError``. When the upload fails, the blob is stored, and the next
            ``sync`` uploads it, unless the id is taken. So it is after ``NotConfiguredError``
            because there is no remote.
        """

        return self.__engine.begin(
            partial(self._put, doc, size, namespace, priority, bool(local_only))
        )

    def get(
        self,
        blob_id: str,
        namespace: str = "",
        priority: Priority | int | str = Priority.DEFAULT,
    ) -> Deferred[BlobReader]:
        """
        Open a blob, after downloading it if it is not in the store.

        Calls for one blob share one download; the most urgent of them counts.

        :return: fires with a read-only binary file, at its start, that can seek. Fails with
            ``BlobNotFoundError``: neither here nor there; ``MaximumRetriesError``: it did not
            verify in ``max_decrypt_retries`` attempts; ``ExternalBlobError``: it is here, but
            was sealed by others, and its namespace is not among ``external_namespaces``.
        """

        return self.__engine.begin(partial(self._get, blob_id, namespace, priority))

    def delete(self, blob_id: str, namespace: str = "") -> Deferred[None]:
        """
        Delete a blob, on the server and here. A transfer of it is cancelled.

        :return: fires with None when it is gone. Fails with ``BlobNotFoundError``: neither had
            it. When the server can't be reached, the blob is hidden, and ``sync`` deletes it.
        """

        async def work() -> None:
            await self.__engine.delete(check_key(blob_id, namespace))

        return self.__engine.begin(work)

    def verify(self, blob_id: str, namespace: str = "", deep: bool = False) -> Deferred[bool]:
        """
        Ask whether the server has the blob that is in the store. Nothing is changed.

        :param deep: download and open it as well; the observer is told. Without, the server's
            tag is compared, and the server could have it from memory.
        :return: fires with True; with False if the server has another blob under that id. Fails
            with ``BlobNotFoundError``: the server does not have it, it is not in the store, or
            it is local only; ``InvalidBlob``: ``deep``, and what the server has does not verify.
        """

        async def work() -> bool:
            key = check_key(blob_id, namespace)
            return await self.__engine.verify(key, deep)

        return self.__engine.begin(work)

    def local_list(self, namespace: str = "") -> Deferred[list[str]]:
        """
        List what is in the store.

        :return: fires with ids, oldest first.
        """

        async def work() -> list[str]:
            return await self.__engine.need_store().list(check_namespace(namespace))

        return self.__engine.begin(work)

    def local_list_status(
        self, status: SyncStatus | int, namespace: str = ""
    ) -> Deferred[list[str]]:
        """
        List what has a status.

        :return: fires with ids, the most urgent first, then the oldest.
        """

        async def work() -> list[str]:
            return await self.__engine.need_store().list_status(
                check_status(status), check_namespace(namespace)
            )

        return self.__engine.begin(work)

    # -- parts -------------------------------------------------------------------------

    _closing: Deferred[None] | None = None

    def _put(
        self,
        doc: BlobDoc,
        size: int,
        namespace: str,
        priority: Priority | int | str,
        local_only: bool,
    ) -> Deferred[None]:
        urgency = Priority.parse(priority)
        key = check_doc(doc, size, namespace)
        if not local_only:
            sealed_size(size)
        return self.__engine.put(doc, key, size, urgency, local_only)

    async def _get(
        self, blob_id: str, namespace: str, priority: Priority | int | str
    ) -> BlobReader:
        key = check_key(blob_id, namespace)
        urgency = Priority.parse(priority)
        store = self.__engine.need_store()
        found = await store.get(key.blob_id, key.namespace)
        if found is None:
            await self._fetch(key, urgency)
            found = await store.get(key.blob_id, key.namespace)
        if found is None:
            raise DeletedMeanwhile.of(key.blob_id, key.namespace)
        if found.external and not self.__seals.takes_external(key.namespace):
            # It came before that was asked for, or to a manager that expects such blobs.
            found.close()
            raise ExternalBlobError(
                f"get {describe(key.blob_id, key.namespace)}: it has no seal of the user's, and "
                "its namespace is not among external_namespaces"
            )
        return found

    async def _fetch(self, key: BlobKey, priority: Priority) -> None:
        if self.__engine.server is None:
            raise BlobNotFoundError(
                f"{describe(key.blob_id, key.namespace)} is not here, and there is no server to ask"
            ) from NotConfiguredError("remote was not given")
        try:
            await self.__engine.download(key, priority, asked_for=True)
        except DeletedMeanwhile as error:
            if not isinstance(error.__cause__, IllegalStatusChange):
                raise
            # A comparison that began before the blob was there took its record for an old one.
            await self.__engine.download(key, priority, asked_for=True)
