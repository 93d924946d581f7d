"""How catalogues are named."""

from __future__ import annotations

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from blobman.server.running.catalogues import DatabasePlace, FolderPlace, place_of
from blobman.server.running.plugin import Options


class PlaceTests(SynchronousTestCase):
    def test_kinds(self) -> None:
        for url in ("sqlite:a", "a", "./a:b", "/a/postgresql://b", "SQLITE:a"):
            self.assertIsInstance(place_of(url), FolderPlace)
        for url in (
            "postgresql://",
            "postgres://h/d",
            "PostgreSQL://h",
            "postgresql:///?service=x",
        ):
            self.assertIsInstance(place_of(url), DatabasePlace)

    def test_a_password_is_never_shown(self) -> None:
        for url, shown in (
            ("postgresql://", "postgresql://"),
            ("postgresql://h:5432/d", "postgresql://h:5432/d"),
            ("postgresql://u@h/d", "postgresql://u@h/d"),
            ("postgresql://u:hidden@h/d", "postgresql://u@h/d"),
            (
                "postgres://u:hid%40den@h1,h2/d?sslmode=require",
                "postgresql://u@h1,h2/d?sslmode=require",
            ),
            ("postgresql://h/d?password=hidden&user=u", "postgresql://h/d?user=u"),
            ("postgresql://h/d?sslpassword=hidden", "postgresql://h/d"),
            ("postgresql:///d?host=/run/pg", "postgresql:///d?host=/run/pg"),
            # An @ that is no end of a password.
            ("postgresql://h/d?password=hid@hidden", "postgresql://"),
            ("postgresql://u:hidden?hidden@h/d", "postgresql://"),
        ):
            self.assertEqual(place_of(url).shown, shown)

    def test_a_plugin_says_what_is_wrong_with_one(self) -> None:
        for url, words in (
            ("postgresql://u:hidden@[::1/db", "--catalogue: that is no URL of a database"),
            ("mysql://u:hidden@h/db", "--catalogue: a catalogue must be sqlite:DIR"),
        ):
            options = ["--data", self.mktemp(), "--listen", "tcp:0", "--catalogue", url]
            error = self.assertRaises(UsageError, Options().parseOptions, options)
            self.assertIn(words, str(error))
            self.assertNotIn("hidden", str(error))
