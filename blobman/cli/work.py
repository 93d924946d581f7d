"""What a command leaves to be done under the reactor."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred


class Work(NamedTuple):
    """
    What a command does.

    :ivar begin: takes a reactor; gives an exit code, None for 0. It can be cancelled.
    :ivar logs: whether its log is for the user to see.
    """

    begin: Callable[[Any], Coroutine[Deferred[Any], Any, int | None]]
    logs: bool = False
