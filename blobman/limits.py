"""The limits of a manager, which are checked whenever one is set: on a class or an instance."""

from __future__ import annotations

from abc import ABCMeta

LIMITS = frozenset({"max_decrypt_retries", "concurrent_transfers_limit", "concurrent_writes_limit"})
"""Their names. Each is a whole number, 1 or more."""


def check_limit(name: str, value: object) -> None:
    """
    Check the value of a limit.

    :raise TypeError: it is not an ``int``.
    :raise ValueError: it is less than 1.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, not {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name} must be 1 or more, not {value}")


class _CheckedClass(ABCMeta):
    """Checks the limits of a class. An ``ABCMeta``, so that a subclass may be abstract."""

    def __init__(cls, name: str, bases: tuple[type, ...], body: dict[str, object]) -> None:
        super().__init__(name, bases, body)
        for limit in LIMITS & body.keys():
            check_limit(limit, body[limit])

    def __setattr__(cls, name: str, value: object) -> None:
        if name in LIMITS:
            check_limit(name, value)
        super().__setattr__(name, value)


class Limited(metaclass=_CheckedClass):
    """Has limits as attributes, which an instance, a subclass or the class itself can change."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in LIMITS:
            check_limit(name, value)
        super().__setattr__(name, value)
        if name in LIMITS:
            self._limit_changed()

    def _limit_changed(self) -> None:
        """Have a new limit count at once; called for instances."""
