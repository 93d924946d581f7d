"""What an application may pass to a manager; each error names the argument."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable

from .document import BlobDoc
from .model import BlobKey, SyncStatus, check_key, check_namespace, check_size


def check_doc(doc: BlobDoc, size: int, namespace: str) -> BlobKey:
    """
    Check what is to be put.

    :raise TypeError: or ``ValueError``: something is wrong.
    """
    if not getattr(doc, "is_blob", False):
        raise TypeError(f"doc must be a BlobDoc, not {type(doc).__name__}")
    check_size(size)
    return check_key(doc.blob_id, namespace)


def check_status(status: SyncStatus | int) -> SyncStatus:
    """
    Check a status.

    :raise TypeError: or ``ValueError``: it is none.
    """
    if not isinstance(status, int) or isinstance(status, bool):
        raise TypeError(f"status must be a SyncStatus, not {type(status).__name__}")
    try:
        return SyncStatus(status)
    except ValueError:
        raise ValueError(f"status must be a SyncStatus (1 to 7), not {status}") from None


def check_bool(argument: str, value: object) -> None:
    """
    Check what is either so or not.

    :param argument: the argument's name, for the message.
    :raise TypeError: it is not a ``bool``.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{argument} must be a bool, not {type(value).__name__}")


def check_namespaces(argument: str, namespaces: Iterable[str]) -> frozenset[str]:
    """
    Check some namespaces.

    :param argument: the argument's name, for the message.
    :raise TypeError: they are not a collection of ``str``.
    :raise ValueError: one of them is neither empty nor a name.
    """
    if isinstance(namespaces, (str, bytes)) or not isinstance(namespaces, Iterable):
        kind = type(namespaces).__name__
        raise TypeError(f"{argument} must be a list or a set of namespaces, not {kind}")
    try:
        return frozenset([check_namespace(namespace) for namespace in namespaces])
    except (TypeError, ValueError) as error:
        raise type(error)(f"{argument}: {error}") from None


def check_token(token: object) -> None:
    """
    Check a token. No error shows any of it.

    :raise TypeError: it is neither a ``str`` nor None.
    :raise ValueError: it holds what does not belong in one, such as a line end.
    """
    if token is None:
        return
    if not isinstance(token, str):
        raise TypeError(f"token must be a str, not {type(token).__name__}")
    if not token.isprintable() or token != token.strip():
        raise ValueError(
            "token must be printable characters, without a line end or blanks around them"
        )


def check_path(argument: str, path: object) -> str:
    """
    Check the path of a file or a folder, which need not exist.

    :param argument: the argument's name, for the message.
    :return: the path as a ``str``.
    :raise TypeError: it is neither a ``str`` nor a path object that stands for one.
    :raise ValueError: it is empty, or no path can be like that.
    """
    plain = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(plain, str):
        raise TypeError(f"{argument} must be a str or a path object, not {type(path).__name__}")
    if not plain:
        raise ValueError(f"{argument} must not be empty")
    try:
        encoded = os.fsencode(plain)
    except UnicodeEncodeError as error:
        raise ValueError(f"{argument} has a character that no path can have here") from error
    if b"\0" in encoded:
        raise ValueError(f"{argument} must not have a null character in it")
    return plain


def check_seconds(argument: str, seconds: object) -> float:
    """
    Check a time.

    :param argument: the argument's name, for the message.
    :raise TypeError: it is not a number.
    :raise ValueError: it is not above 0, or has no end.
    """
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        raise TypeError(f"{argument} must be a number of seconds, not {type(seconds).__name__}")
    if not (seconds > 0 and math.isfinite(seconds)):
        raise ValueError(f"{argument} must be above 0 and finite, not {seconds}")
    return seconds


def check_following(on_change: object, interval: object, on_error: object) -> None:
    """
    Check how changes are to be followed.

    :raise TypeError: ``on_change`` or ``on_error`` can't be called, or ``interval`` is no number.
    :raise ValueError: ``interval`` can't be waited for.
    """
    for argument, function in (("on_change", on_change), ("on_error", on_error)):
        if function is not None and not callable(function):
            raise TypeError(f"{argument} must be callable, not {type(function).__name__}")
    check_seconds("interval", interval)


def check_reactor(reactor: object) -> None:
    """
    Check a reactor.

    :raise TypeError: it lacks what every reactor has.
    """
    _check_methods("reactor", reactor, "callLater", "seconds", "callFromThread")


def check_observer(observer: object) -> None:
    """
    Check an observer of transfers.

    :raise TypeError: it is not None, and does not provide ``ITransferObserver``.
    """
    if observer is not None:
        _check_methods("observer", observer, "transfer_changed")


def check_jitter(jitter: object) -> None:
    """
    Check a jitter function.

    :raise TypeError: it can't be called.
    """
    if not callable(jitter):
        raise TypeError(f"jitter must be a function, not {type(jitter).__name__}")


def _check_methods(argument: str, value: object, *names: str) -> None:
    for name in names:
        if not callable(getattr(value, name, None)):
            kind = type(value).__name__
            raise TypeError(f"{argument} must have a method {name}, which {kind} has not")


def check_rate(rate: object) -> float | None:
    """
    Check a limit in bytes per second.

    :raise TypeError: it is neither a number nor None.
    :raise ValueError: it is less than 1, or has no end.
    """
    if rate is None:
        return None
    if not isinstance(rate, (int, float)) or isinstance(rate, bool):
        raise TypeError(
            f"limit_rate must be a number of bytes per second, not {type(rate).__name__}"
        )
    if not (rate >= 1 and math.isfinite(rate)):
        raise ValueError(f"limit_rate must be 1 or more, not {rate}; None means no limit")
    return rate
