from __future__ import annotations

import hashlib
from typing import Any

from blobman.cli import demonstration, journeys

from .harness import CommandCase


class DemoTests(CommandCase):
    async def test_files_that_are_given(self) -> None:
        names = "empty", "a rather long name for such a small file.txt"
        files = [self.write(names[0], b""), self.write(names[1], b"plain words to read")]
        outcome = await self.succeed("demo", *files)
        self.assertIn("It works: 2 of 2 arrived as they left.", outcome.lines)
        self.assertIn(f"{names[1]} as the laptop has it:", outcome.lines)
        self.assertIn("it is gone there too", outcome.out)
        self.assertEqual(outcome.out.count("|plain words to r|"), 1)
        self.assertLessEqual(max(map(len, outcome.lines)), 80)

    async def test_its_own_files(self) -> None:
        outcome = await self.succeed("demo")
        for name in ("empty.txt", "note.txt", "photo.jpg", "video.mp4"):
            self.assertRegex(outcome.out, rf"(?m)^{name} .* yes$")

    async def test_a_difference(self) -> None:
        count = 0

        async def differ(reactor: Any, file: Any) -> bytes:
            nonlocal count
            count += 1
            return hashlib.sha256(b"%d" % count).digest()

        self.patch(journeys, "_digest", differ)
        outcome = await self.run_command("demo", self.write("a", b"a"))
        self.assertEqual(outcome.code, 1)
        self.assertIn("1 of 1 arrived different", outcome.out)

    async def test_a_deletion_that_does_not_arrive(self) -> None:
        async def forget(*_: object) -> bool:
            return False

        self.patch(demonstration, "_delete_one", forget)
        self.assertEqual((await self.run_command("demo", self.write("a", b"a"))).code, 1)

    async def test_a_file_that_is_missing(self) -> None:
        self.assertIn("No such file", await self.refuse(1, "demo", self.path("missing")))
