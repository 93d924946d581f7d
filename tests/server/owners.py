"""Folders of somebody else, for root; whoever runs the tests."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

NOBODY = 65534


def work_as_root(test: SynchronousTestCase, folder: str) -> None:
    """Have the server's code work as root in a folder that is another user's."""
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    else:
        # What it then gives to the folder's owner may be given by us: that's who we are.
        test.patch(os, "geteuid", lambda: 0)


def owners_below(folder: str) -> set[tuple[int, int]]:
    """Name the owners and groups of all that is in a folder."""
    paths = [
        os.path.join(top, it)
        for top, folders, files in os.walk(folder)
        for it in (*folders, *files)
    ]
    return {(it.st_uid, it.st_gid) for it in map(os.lstat, paths)}
