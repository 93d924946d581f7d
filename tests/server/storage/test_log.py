"""How much of a log has been moved, as it is recorded."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from blobman.server.storage.catalogue.log import frames_moved, mark_of, read_salt


class MarkTests(SynchronousTestCase):
    @given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
    def test_how_much_has_been_moved(self, salt: int, frames: int, another: int) -> None:
        mark = mark_of(salt, frames)
        self.assertEqual(frames_moved(mark, salt), frames)
        self.assertEqual(frames_moved(mark, another), frames if another == salt else 0)
        self.assertEqual(frames_moved(mark, None), 0)

    def test_no_log(self) -> None:
        path = self.mktemp()
        self.assertIsNone(read_salt(path))
        os.close(os.open(path, os.O_CREAT))
        self.assertIsNone(read_salt(path))
