"""Publications that wait are committed together: :class:`Publisher`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import psycopg

from .....errors import StoreError
from .....threads import Work
from ...interface import Outcomes
from ...waking import Place
from ..interface import Publication
from .changes import Changes
from .pool import Pool
from .sessions import Session, is_refused


class Publishing:
    """Work that publishes, which can be done together with other such work."""

    def __init__(self, blobs: Sequence[Publication]) -> None:
        self.blobs = blobs

    def __call__(self, changes: Changes) -> Outcomes:
        """Do it alone."""
        return changes.publish(self.blobs)


class Publisher:
    """
    Publishes, in threads.

    :param announce: told in which places something has changed, or may have.
    """

    def __init__(self, pool: Pool, announce: Callable[[Iterable[Place]], object]) -> None:
        self._pool = pool
        self._announce = announce

    def run(self, works: Sequence[Work[Outcomes]]) -> None:
        """Publish what all of these are about; one by one, if that was refused."""
        blobs: list[Publication] = [blob for work in works for blob in work.call.blobs]

        def publish(session: Session) -> Outcomes:
            return Changes(session).publish(blobs)

        try:
            outcomes = self._pool.change(publish) if blobs else []
        except Exception as error:
            if len(works) > 1 and _has_done_nothing(error):
                for work in works:
                    self.run([work])
                return
            for work in works:
                work.fail(error)
            self._announce({blob.name[:2] for blob in blobs})
            return
        told = iter(outcomes)
        for work in works:
            work.succeed([next(told) for _ in work.call.blobs])
        accepted = [it for it, error in zip(blobs, outcomes, strict=True) if error is None]
        self._announce({blob.name[:2] for blob in accepted})


def _has_done_nothing(error: Exception) -> bool:
    cause = error.__cause__
    return isinstance(error, StoreError) and isinstance(cause, psycopg.Error) and is_refused(cause)
