"""Stores as earlier versions of the schema had them."""

from __future__ import annotations

from pathlib import Path

from blobman.local.connection import connect, derive_key
from blobman.local.schema import VERSION
from blobman.sqlite import pragma

from .test_faults import KEY

_BACK = {
    3: (),
    4: ("DROP TABLE tombstones",),
    5: (
        "DROP INDEX blobs_outdated",
        "DROP TABLE feeds",
        *(
            f"ALTER TABLE blobs DROP COLUMN {name}"
            for name in ("tag", "told_tag", "told_size", "former_tag", "flags", "seen")
        ),
    ),
    6: (),
    7: ("DROP INDEX blobs_untold", "ALTER TABLE blobs DROP COLUMN untold"),
}


def bring_back(path: Path, version: int, *statements: str) -> None:
    """
    Bring a store that nobody has open back to an earlier version, 2 or later.

    :param statements: what that version might have done, too.
    """
    connection = connect(str(path), derive_key(KEY))
    for step in range(VERSION, version, -1):
        for statement in _BACK[step]:
            connection.execute(statement)
    for statement in statements:
        connection.execute(statement)
    pragma(connection, f"user_version={version}")
    connection.close()
