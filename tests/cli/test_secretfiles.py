from __future__ import annotations

import os
from pathlib import Path

from .harness import ServerCase
from .test_init import PASSPHRASE, SetUpCase

ENDS = (b"", b"\n", b"\r\n", b" \n", b"\t\r\n", b"\n\n")
MARK = b"\xef\xbb\xbf"


class EditedFileTests(ServerCase):
    """Files that have been through editors, mail and Windows are as good as before."""

    def variants(self, name: str) -> list[str]:
        content = (self.folder / name).read_bytes().rstrip()
        utf16 = b"\xff\xfe" + (content + b"\r\n").decode().encode("utf-16-le")
        contents = [mark + content + end for mark in (b"", MARK) for end in ENDS]
        return [self.write(f"{name}-{n}", it) for n, it in enumerate([*contents, utf16])]

    async def test_tokens(self) -> None:
        for path in self.variants("token"):
            await self.succeed("count", "--token-file", path)

    async def test_keys(self) -> None:
        await self.put(b"content", "--id", "a")
        for path in self.variants("key"):
            self.assertEqual((await self.succeed("ls", "--key-file", path)).lines, ["a"])

    async def test_secrets(self) -> None:
        for number, path in enumerate(self.variants("secret")):
            await self.put(b"content", "--id", str(number), "--secret-file", path)
        self.another_machine()
        for number, path in enumerate(self.variants("secret")):
            self.assertEqual((await self.succeed("get", str(number))).out, "content")
            self.let(store=self.path(f"store {number}"))
            outcome = await self.succeed("get", "0", "--secret-file", path)
            self.assertEqual(outcome.out, "content")

    async def test_authorities(self) -> None:
        content = (self.folder / "ca.pem").read_bytes()
        for mark, end in ((MARK, b"\n"), (b"", b"\r\n"), (MARK, b"\r\n")):
            path = self.write("edited.pem", mark + content.replace(b"\n", end))
            await self.succeed("count", "--ca", path)

    async def test_raw_bytes_are_a_secret_as_they_are(self) -> None:
        raw = bytes(range(255, 160, -1)) + b"\r\n"
        await self.put(b"a", "--id", "a", "--secret-file", self.write("raw", raw))
        self.another_machine()
        self.write("cut", raw[:-1])
        await self.refuse(7, "get", "a", "--secret-file", self.path("cut"))
        await self.succeed("get", "a", "--secret-file", self.path("raw"))

    async def test_a_token_of_two_words_is_not_shown(self) -> None:
        for content in (b"mel lon", b"mel\nlon", b"mel\0lon"):
            line = await self.refuse(2, "count", "--token-file", self.write("odd", content))
            self.assertIn("does not hold a token", line)
            self.assertNotIn("lon", line)


class EditedPassphraseTests(SetUpCase):
    async def test_passphrases_and_recovery_codes(self) -> None:
        code = await self.init()
        for mark in (b"", MARK):
            for end in ENDS:
                self.write("passphrase", mark + PASSPHRASE.strip() + end)
                await self.succeed("ls")
                file = self.write("code", mark + code.encode() + end)
                outcome = await self.run_command("init", "--recover", "--code-file", file)
                self.assertEqual(outcome.code, 0, outcome)


class ReadableByOthersTests(ServerCase):
    async def test_it_is_said(self) -> None:
        path = self.write("content", b"x")
        for mode in (0o640, 0o604, 0o644):
            for name in ("key", "secret", "token"):
                Path(self.path(name)).chmod(mode)
                outcome = await self.run_command("put", path)
                self.assertEqual((outcome.code, len(outcome.lines)), (0, 1))
                self.assertEqual(
                    outcome.err,
                    f"blobman: {name} file {self.path(name)!r} can be read by others:"
                    " chmod 600 makes it yours alone\n",
                )
                outcome = await self.run_command("put", path, "--json")
                self.assertIn("can be read by others", outcome.err)
                await self.succeed("put", path, "--quiet")
                Path(self.path(name)).chmod(0o600)

    async def test_nobody_else_reads_a_pipe(self) -> None:
        reading, writing = os.pipe()
        os.fchmod(reading, 0o644)
        os.write(writing, (self.folder / "token").read_bytes())
        os.close(writing)
        self.addCleanup(os.close, reading)
        await self.succeed("count", "--token-file", f"/dev/fd/{reading}")


class ReadablePassphraseTests(SetUpCase):
    async def test_it_is_said_once(self) -> None:
        await self.init()
        Path(self.path("passphrase")).chmod(0o644)
        said = f"passphrase file {self.path('passphrase')!r} can be read by others"
        outcome = await self.run_command("ls")
        self.assertEqual((outcome.code, outcome.err.count(said)), (0, 1))
        await self.succeed("ls", "--quiet")
        self.let(config=self.path("other"))
        Path(self.path("token")).chmod(0o644)
        outcome = await self.run_command("init", *self.required())
        self.assertEqual((outcome.code, outcome.err.count("can be read by others")), (0, 2))
