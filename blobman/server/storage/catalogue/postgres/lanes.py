"""Changes of blobs, as many as wait in one transaction: :class:`Lane`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple, Protocol

import psycopg

from .....errors import BlobNotFoundError, StoreError
from .....model import Flags
from .....threads import Work
from ...interface import BlobName, Outcomes
from ...waking import Place
from ..interface import Publication
from ..rows import row_digest, write_flags
from .changes import refusal
from .pool import Pool
from .sessions import is_refused

Told = Sequence[str]
"""What a function says of each blob: nothing, or why nothing was changed."""


class Call(NamedTuple):
    """
    A call of a function in the database.

    :ivar place: where it changes something.
    :ivar statement: a query of one row, with placeholders for the values.
    """

    place: Place
    statement: bytes
    values: Sequence[Any]


class Change(Protocol):
    """What is to be changed."""

    def calls(self) -> Sequence[Call]:
        """Give the calls that it takes, in the order of their places."""
        ...

    def read(self, told: Sequence[Told]) -> Any:
        """Give its result, by what each call has told; or raise a ``BlobError``."""
        ...


class Publishing:
    """Makes blobs visible."""

    def __init__(self, blobs: Sequence[Publication]) -> None:
        self._blobs = blobs
        order = sorted(range(len(blobs)), key=self._place)
        self._groups = [(place, [*group]) for place, group in groupby(order, self._place)]

    def _place(self, number: int) -> Place:
        return self._blobs[number].name[:2]

    def calls(self) -> Sequence[Call]:
        """Publish in each namespace; see :class:`Change`."""
        return [
            _publish(place, [self._blobs[number] for number in numbers])
            for place, numbers in self._groups
        ]

    def read(self, told: Sequence[Told]) -> Outcomes:
        """Give the outcomes in the order of the blobs; see :class:`Change`."""
        outcomes: Outcomes = [None] * len(self._blobs)
        for (_, numbers), words in zip(self._groups, told, strict=True):
            for number, word in zip(numbers, words, strict=True):
                blob = self._blobs[number]
                outcomes[number] = refusal(word, str(blob.name), blob.size)
        return outcomes


def _publish(place: Place, blobs: Sequence[Publication]) -> Call:
    bodies = [it.digests if it.content is None else it.content for it in blobs]
    digests = [
        row_digest(it.name, it.size, it.tag, it.key, body)
        for it, body in zip(blobs, bodies, strict=True)
    ]
    return Call(
        place,
        b"SELECT publish(%s, %s, %s::text[], %s::bigint[], %b::bytea[], %s::text[],"
        b" %b::bytea[], %b::bytea[], %s::text[])",
        [
            *place,
            [it.name.blob_id for it in blobs],
            [it.size for it in blobs],
            [it.tag for it in blobs],
            [it.key or "" for it in blobs],
            digests,
            bodies,
            [write_flags(it.flags) for it in blobs],
        ],
    )


class _Single:
    """Changes a blob that is there."""

    def __init__(self, name: BlobName, function: bytes, value: object) -> None:
        self._name = name
        self._function = function
        self._value = value

    def calls(self) -> Sequence[Call]:
        """Call the function; see :class:`Change`."""
        statement = b"SELECT " + self._function + b"(%s, %s, %s, %s)"
        return [Call(self._name[:2], statement, [*self._name, self._value])]

    def read(self, told: Sequence[Told]) -> None:
        """Raise ``BlobNotFoundError`` if it was not there; see :class:`Change`."""
        if told[0][0]:
            raise BlobNotFoundError(f"no {self._name}")


class Deleting(_Single):
    """
    Removes a blob.

    :param linger: seconds for which its payload is kept.
    """

    def __init__(self, name: BlobName, linger: int) -> None:
        super().__init__(name, b"delete_blob", linger)


class Flagging(_Single):
    """Replaces a blob's flags."""

    def __init__(self, name: BlobName, flags: Sequence[Flags]) -> None:
        super().__init__(name, b"set_flags", write_flags(flags))


class Lane:
    """
    Makes changes, in a thread.

    :param announce: told in which places something has changed, or may have.
    """

    def __init__(self, pool: Pool, announce: Callable[[Iterable[Place]], object]) -> None:
        self._pool = pool
        self._announce = announce

    def run(self, works: Sequence[Work[Any]]) -> None:
        """Make the changes that works give in one transaction; one by one, if that was refused."""
        owned: list[tuple[Work[Any], Call]] = []
        try:
            changes: list[Change] = [work.call() for work in works]
            owned += [
                (work, call)
                for work, change in zip(works, changes, strict=True)
                for call in change.calls()
            ]
            # In the order of the places, in which all lanes of all processes lock them.
            owned.sort(key=lambda it: it[1].place)
            told = self._call([call for _, call in owned])
        except Exception as error:
            self._fail(works, owned, error)
            return
        answers = [(work, call, words) for (work, call), words in zip(owned, told, strict=True)]
        for work, change in zip(works, changes, strict=True):
            answer = [words for owner, _, words in answers if owner is work]
            work.attempt(partial(change.read, answer))
        self._announce({call.place for _, call, words in answers if "" in words})

    def _fail(
        self, works: Sequence[Work[Any]], owned: Sequence[tuple[Work[Any], Call]], error: Exception
    ) -> None:
        if len(works) > 1 and _has_done_nothing(error):
            for work in works:
                self.run([work])
            return
        for work in works:
            work.fail(error)
        # They may have been done all the same.
        self._announce({call.place for _, call in owned})

    def _call(self, calls: Sequence[Call]) -> list[Told]:
        """Make calls in one statement, which so is one transaction and one round trip."""
        if not calls:
            return []
        statement = b" UNION ALL ".join(call.statement for call in calls)
        values = [value for call in calls for value in call.values]
        rows = self._pool.change(lambda session: session.execute(statement, values).fetchall())
        return [words for (words,) in rows]


def _has_done_nothing(error: Exception) -> bool:
    cause = error.__cause__
    return isinstance(error, StoreError) and isinstance(cause, psycopg.Error) and is_refused(cause)
