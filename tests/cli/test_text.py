from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from blobman.cli.text import (
    duration_text,
    hexdump_lines,
    shorten,
    size_text,
    table_lines,
    visible,
)


class TextTests(SynchronousTestCase):
    def test_what_would_act_on_a_terminal(self) -> None:
        for text, shown in (
            ("caf\u00e9 \u2603 \U0001f468\u200d\U0001f467.txt", None),
            ("a b\\c", None),
            ("a\nb\rc\td", r"a\nb\rc\td"),
            ("\x1b[2J\x07\x7f", r"\x1b[2J\x07\x7f"),
            ("\x9b2J\x85", r"\u009b2J\u0085"),
            ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
            ("\u202etxt.exe\u2066", r"\u202etxt.exe\u2066"),
            ("\udcff\udc80", r"\xff\x80"),
            ("\ud800", r"\ud800"),
        ):
            self.assertEqual(visible(text), shown or text)
            visible(text).encode("utf-8")

    def test_sizes(self) -> None:
        for size, text in (
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (50_000_000, "50.0 MB"),
            (2**36, "68.7 GB"),
            (10**18, "1000.0 PB"),
        ):
            self.assertEqual(size_text(size), text)

    def test_durations(self) -> None:
        for seconds, text in (
            (0, "0.00 s"),
            (9.994, "9.99 s"),
            (9.996, "10.0 s"),
            (59.96, "1:00"),
            (125, "2:05"),
            (3599.6, "1:00:00"),
            (3725, "1:02:05"),
        ):
            self.assertEqual(duration_text(seconds), text)

    def test_shorten(self) -> None:
        self.assertEqual(shorten("short", 5), "short")
        self.assertEqual(shorten("abcdefghij", 8), "ab...hij")
        for width in range(5, 20):
            self.assertEqual(len(shorten("x" * 40, width)), width)

    def test_tables(self) -> None:
        rows = [("a", "1"), ("bcd", "23")]
        self.assertEqual(list(table_lines(rows)), ["a     1", "bcd  23"])
        self.assertEqual(list(table_lines(rows, left=2)), ["a    1", "bcd  23"])
        self.assertEqual(list(table_lines([])), [])

    def test_hexdumps(self) -> None:
        lines = list(hexdump_lines(bytes(range(60, 80)), 737))
        self.assertEqual(
            lines,
            [
                "000002e1  3c 3d 3e 3f 40 41 42 43 44 45 46 47 48 49 4a 4b  |<=>?@ABCDEFGHIJK|",
                "000002f1  4c 4d 4e 4f                                      |LMNO|",
            ],
        )
