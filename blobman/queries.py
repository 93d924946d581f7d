"""What is asked of the server about its blobs, and what it is told of their flags."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Literal, overload

from twisted.internet.defer import Deferred

from .model import Flags, check_key, check_namespace
from .protocol import check_flag, check_order
from .sync import BlobsSynchronizer
from .synchronizing.namespaces import find_namespaces
from .transfers.engine import Engine


class ServerQueries(BlobsSynchronizer):
    """The methods of a manager for which the server alone is enough."""

    def __init__(self, engine: Engine) -> None:
        """
        Nothing is under way.

        :param engine: asks the server.
        """
        super().__init__(engine)
        self.__engine = engine

    def count(self, namespace: str = "") -> Deferred[dict[str, int]]:
        """
        Count the blobs on the server.

        :return: fires with ``{"count": n}``.
        """

        async def work() -> dict[str, int]:
            return await self.__engine.ask(
                partial(self.__engine.need_remote().count, check_namespace(namespace))
            )

        return self.__engine.begin(work)

    def namespaces(self) -> Deferred[list[str]]:
        """
        List the namespaces: those that have blobs on the server, and those that are known here.

        Without a local store, or a server, it is those of the other one. A server that can't tell,
        such as Soledad's, counts as one that has none.

        :return: fires with them, sorted. The default one is ``''``.
        """

        async def work() -> list[str]:
            if self.local is None:
                self.__engine.need_remote()
            return sorted(
                await find_namespaces(self.local, self.__engine.server, self.__engine.requests)
            )

        return self.__engine.begin(work)

    @overload
    def remote_list(
        self,
        namespace: str = "",
        order_by: str | None = None,
        deleted: bool = False,
        filter_flag: str | bool = False,
        only_count: Literal[False] = False,
    ) -> Deferred[list[str]]: ...

    @overload
    def remote_list(
        self,
        namespace: str = "",
        order_by: str | None = None,
        deleted: bool = False,
        filter_flag: str | bool = False,
        *,
        only_count: Literal[True],
    ) -> Deferred[dict[str, int]]: ...

    @overload
    def remote_list(
        self,
        namespace: str = "",
        order_by: str | None = None,
        deleted: bool = False,
        filter_flag: str | bool = False,
        only_count: bool = False,
    ) -> Deferred[list[str] | dict[str, int]]: ...

    def remote_list(
        self,
        namespace: str = "",
        order_by: str | None = None,
        deleted: bool = False,
        filter_flag: str | bool = False,
        only_count: bool = False,
    ) -> Deferred[Any]:
        """
        List the blobs on the server.

        :param order_by: ``date`` or ``+date`` (oldest first), ``-date``; None or empty for none.
        :param deleted: list the ids that have been deleted instead.
        :param filter_flag: only blobs that carry this flag.
        :param only_count: count them instead.
        :return: fires with ids, or with ``{"count": n}``. Fails with ``InvalidFlagsError``.
        """

        async def work() -> list[str] | dict[str, int]:
            place = check_namespace(namespace)
            order = check_order(order_by)
            flag = check_flag(filter_flag).value if filter_flag else None
            if only_count:
                return await self.__engine.ask(
                    partial(self.__engine.need_remote().count, place, bool(deleted), flag)
                )
            return await self.__engine.ask(
                partial(self.__engine.need_remote().list, place, order, bool(deleted), flag)
            )

        return self.__engine.begin(work)

    def set_flags(self, blob_id: str, flags: Iterable[str], namespace: str = "") -> Deferred[None]:
        """
        Replace the flags of a blob on the server.

        :param flags: members of ``Flags``, or their names.
        :return: fires with None. Fails with ``InvalidFlagsError`` before anything is sent, or
            with ``BlobNotFoundError``.
        """

        async def work() -> None:
            key = check_key(blob_id, namespace)
            if isinstance(flags, (str, bytes)) or not isinstance(flags, Iterable):
                raise TypeError(f"flags must be a list of flags, not {type(flags).__name__}")
            checked = [check_flag(flag) for flag in flags]
            await self.__engine.ask(
                partial(self.__engine.need_remote().set_flags, key.blob_id, checked, key.namespace)
            )

        return self.__engine.begin(work)

    def get_flags(self, blob_id: str, namespace: str = "") -> Deferred[list[Flags]]:
        """
        Ask for the flags of a blob on the server.

        :return: fires with a list. Fails with ``BlobNotFoundError``.
        """

        async def work() -> list[Flags]:
            key = check_key(blob_id, namespace)
            return await self.__engine.ask(
                partial(self.__engine.need_remote().get_flags, key.blob_id, key.namespace)
            )

        return self.__engine.begin(work)
