from __future__ import annotations

import os
import pty
import select
import stat
import sys
import tty
from contextlib import redirect_stderr

from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from .harness import NOWHERE, ServerCase

ID = "[0-9a-f]{32}"


class PutTests(ServerCase):
    async def test_the_id_is_printed_with_the_name(self) -> None:
        path = self.write("letter.txt", b"hello")
        outcome = await self.succeed("put", path)
        self.assertRegex(outcome.out, f"^{ID}  {path}\n$")
        self.assertEqual((await self.succeed("count")).out, "1\n")

    async def test_several_files(self) -> None:
        contents = {self.write(f"{n}", b"x" * n): n for n in range(20)}
        outcome = await self.succeed("put", *contents)
        ids = {line.split()[1]: line.split()[0] for line in outcome.lines}
        self.assertEqual(set(ids), set(contents))
        for path, size in contents.items():
            self.assertEqual((await self.succeed("get", ids[path])).out, "x" * size)

    async def test_a_folder_is_all_files_below(self) -> None:
        paths = [self.write(name, b"x") for name in ("in/a", "in/b/c", "in/b/d/e")]
        outcome = await self.succeed("put", self.path("in"))
        self.assertEqual(sorted(line.split()[1] for line in outcome.lines), paths)

    async def test_what_is_left_out_of_a_folder_is_said(self) -> None:
        self.write("elsewhere/a", b"x")
        paths = [self.write("in/a", b"x"), self.path("in/b")]
        os.symlink(self.path("elsewhere/a"), self.path("in/b"))
        for number in range(7):
            os.symlink(self.path("elsewhere"), self.path(f"in/link{number}"))
        os.mkfifo(self.path("in/pipe"))
        outcome = await self.run_command("put", self.path("in"))
        self.assertEqual(outcome.code, 0)
        self.assertEqual(sorted(line.split()[1] for line in outcome.lines), paths)
        links = ", ".join(self.path(f"in/link{number}") for number in range(5))
        self.assertEqual(
            sorted(outcome.err.splitlines()),
            [
                f"left out, as links to folders are not followed: {links} and 2 more",
                f"left out, as they are neither files nor folders: {self.path('in/pipe')}",
            ],
        )
        outcome = await self.succeed("put", self.path("in/link0"))
        self.assertEqual([line.split()[1] for line in outcome.lines], [self.path("in/link0/a")])

    async def test_a_folder_with_files_of_its_own(self) -> None:
        await self.put(b"x", "--local-only")
        await self.put(b"x" * 3_000_000, "--local-only")
        self.let(config=self.path("config"), store="")
        self.write("config/settings.json", b'{"format": 1, "store": "../store"}')
        for name in ("config/token", "config/keys.json", "config/letter", "token", "a_blobs.db"):
            self.write(name, b"x")
        for name in ("config", "store"):
            self.write(f"in/{name}", b"x")
        outcome = await self.run_command("put", "--local-only", str(self.folder))
        self.assertEqual(outcome.code, 0)
        own = {f"config/{name}" for name in ("settings.json", "token", "keys.json")}
        own |= {f"store/alice_blobs.{name}" for name in ("db", "lock", "payloads")}
        put = {line.split("  ", 1)[1] for line in outcome.lines}
        self.assertEqual(put & {self.path(it) for it in own}, set())
        for name in ("config/letter", "token", "a_blobs.db", "in/store"):
            self.assertIn(self.path(name), put)
        self.assertEqual([it for it in put if it.startswith(self.path("store/"))], [])
        [line] = outcome.err.splitlines()
        self.assertTrue(line.startswith("left out, as blobman itself needs them: "), line)
        left_out = line.split(": ")[1].split(" and ")[0].split(", ")
        self.assertLessEqual(set(left_out), {self.path(it) for it in own})
        self.assertIn(self.path("store/alice_blobs.payloads"), left_out)
        os.symlink(self.path("store"), self.path("link"))
        outcome = await self.run_command("put", "--local-only", self.path("link"))
        self.assertEqual((outcome.code, outcome.out), (0, ""))
        outcome = await self.succeed("put", "--local-only", self.path("config/token"))
        self.assertEqual(len(outcome.lines), 1)

    async def test_what_cant_be_read_does_not_stop_the_others(self) -> None:
        good = self.write("in/good", b"x")
        os.symlink("nowhere", self.path("in/dangling"))
        outcome = await self.run_command("put", self.path("missing"), self.path("in"))
        self.assertEqual(outcome.code, 1)
        self.assertEqual([line.split()[1] for line in outcome.lines], [good])
        self.assertEqual(
            sorted(outcome.err.splitlines()),
            [
                f"blobman: {self.path('in/dangling')}: No such file or directory",
                f"blobman: {self.path('missing')}: No such file or directory",
            ],
        )

    async def test_standard_input(self) -> None:
        with open(self.write("typed", b"from a pipe")) as typed:
            self.patch(sys, "stdin", typed)
            outcome = await self.succeed("put", "-", "--id", "piped")
        self.assertEqual(outcome.out, "piped  -\n")
        self.assertEqual((await self.succeed("get", "piped")).out, "from a pipe")

    async def test_standard_input_that_is_empty(self) -> None:
        for options in (), ("--json",):
            with open(self.write("typed", b"")) as typed:
                self.patch(sys, "stdin", typed)
                outcome = await self.run_command("put", "-", *options)
            self.assertEqual(outcome.code, 0)
            self.assertTrue(outcome.out)
            self.assertEqual(
                outcome.err, "blobman: standard input was empty: this is a blob of nothing\n"
            )
        await self.succeed("put", self.write("empty", b""))

    async def test_a_named_pipe(self) -> None:
        path = self.path("pipe")
        os.mkfifo(path)
        # Open at both ends, so that neither waits for the other.
        reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        writing = os.open(path, os.O_WRONLY)
        self.addCleanup(os.close, reading)
        os.write(writing, b"through a pipe")
        reactor.callLater(0, os.close, writing)
        await self.succeed("put", path, "--id", "piped")
        self.assertEqual((await self.succeed("get", "piped")).out, "through a pipe")

    async def test_an_id_that_is_taken(self) -> None:
        path = self.write("a", b"a")
        await self.succeed("put", path, "--id", "taken")
        outcome = await self.run_command("put", path, "--id", "taken")
        self.assertEqual((outcome.code, outcome.out), (4, ""))
        self.assertIn("'taken'", outcome.err)

    async def test_an_id_that_another_machine_took(self) -> None:
        await self.put(b"theirs", "--id", "taken")
        self.another_machine()
        outcome = await self.run_command("put", self.write("a", b"ours"), "--id", "taken")
        shown = f"taken  {self.path('a')}  (stored here, REFUSED by the server)\n"
        self.assertEqual((outcome.code, outcome.out), (4, shown))
        self.assertIn("it is stored here", outcome.err)
        self.assertEqual((await self.succeed("status", "FAILED_UPLOAD")).out, "taken\n")

    async def test_an_id_that_is_no_name(self) -> None:
        line = await self.refuse(1, "put", self.write("a", b"a"), "--id", "../a")
        self.assertIn("blob_id must be", line)

    async def test_an_id_is_for_one_file(self) -> None:
        paths = self.write("in/a", b"a"), self.write("in/b", b"b")
        for files in (paths, [self.path("in")]):
            line = await self.refuse(2, "put", *files, "--id", "one")
            self.assertIn("--id is for one file", line)

    async def test_local_only_needs_no_server(self) -> None:
        path = self.write("a", b"mine")
        self.let(remote="", token_file="", secret_file="")
        outcome = await self.succeed("put", path, "--local-only", "--json")
        [record] = outcome.records
        self.assertEqual(record["status"], "LOCAL_ONLY")
        self.assertEqual((await self.succeed("get", record["id"])).out, "mine")

    async def test_namespaces(self) -> None:
        await self.put(b"one", "--id", "same")
        await self.put(b"two", "--id", "same", "--namespace", "other")
        self.assertEqual((await self.succeed("get", "same")).out, "one")
        self.assertEqual((await self.succeed("get", "same", "-n", "other")).out, "two")

    async def test_json(self) -> None:
        path = self.write("a", b"12345")
        [record] = (await self.succeed("put", path, "--json", "--id", "x")).records
        self.assertEqual(record, {"id": "x", "file": path, "size": 5, "status": "SYNCED"})

    async def test_a_server_that_is_down(self) -> None:
        path = self.write("a", b"later")
        outcome = await self.run_command("put", path, "--remote", NOWHERE, "--json")
        self.assertEqual(outcome.code, 6)
        self.assertIn("blobman sync will send it", outcome.err)
        self.assertRegex(
            (await self.run_command("put", path, "--remote", NOWHERE)).out,
            f"^{ID}  {path}  \\(stored here, NOT sent yet\\)\n$",
        )
        stored, failed = outcome.records
        self.assertEqual(stored["status"], "PENDING_UPLOAD")
        self.assertEqual((failed["failed"], failed["code"]), (path, 6))
        outcome = await self.run_command("sync")
        self.assertEqual((outcome.code, outcome.err.splitlines()[2:]), (0, ["2 in step; 2 sent"]))
        self.another_machine()
        self.assertEqual((await self.succeed("get", stored["id"])).out, "later")

    async def test_priorities(self) -> None:
        path = self.write("a", b"a")
        for priority in ("low", "medium", "HIGH", "Urgent"):
            await self.succeed("put", path, "--priority", priority)
        self.assertIn("urgent", await self.refuse(2, "put", path, "--priority", "now"))

    async def test_a_store_that_is_no_folder(self) -> None:
        path = self.write("a", b"a")
        line = await self.refuse(10, "put", path, path, path, "--store", path)
        self.assertIn(path, line)


class GetTests(ServerCase):
    async def test_any_bytes_from_another_machine(self) -> None:
        content = bytes(range(256)) * 5000
        blob_id = await self.put(content)
        self.another_machine()
        outcome = await self.run_command("get", blob_id, "-o", self.path("out"))
        self.assertEqual((outcome.code, outcome.out), (0, ""))
        self.assertEqual(outcome.err, f"{blob_id} is in {self.path('out')}\n")
        self.assertEqual((self.folder / "out").read_bytes(), content)
        self.assertEqual(stat.S_IMODE(os.stat(self.path("out")).st_mode), 0o600)

    async def test_an_empty_one(self) -> None:
        blob_id = await self.put(b"")
        self.assertEqual((await self.succeed("get", blob_id)).out, "")
        await self.succeed("get", blob_id, "-o", self.path("out"), "--quiet")
        self.assertEqual(os.path.getsize(self.path("out")), 0)

    async def test_a_file_is_not_overwritten(self) -> None:
        blob_id = await self.put(b"new")
        out = self.write("out", b"old")
        line = await self.refuse(4, "get", blob_id, "-o", out)
        self.assertEqual(line, f"{out}: it exists; --force overwrites it")
        self.assertEqual((self.folder / "out").read_bytes(), b"old")
        await self.succeed("get", blob_id, "-o", out, "--force", "-q")
        self.assertEqual((self.folder / "out").read_bytes(), b"new")

    async def test_a_file_that_is_looked_for_first(self) -> None:
        out = self.write("out", b"old")
        await self.refuse(4, "get", "whatever", "-o", out, "--remote", NOWHERE)

    async def test_no_such_blob(self) -> None:
        before = sorted(os.listdir(self.folder))
        line = await self.refuse(3, "get", "missing", "-o", self.path("out"))
        self.assertIn("'missing'", line)
        after = set(os.listdir(self.folder)) - {"store"}
        self.assertEqual(sorted(after), before)

    async def test_the_name_of_a_file(self) -> None:
        line = await self.refuse(1, "get", "letter.txt")
        self.assertTrue(line.endswith("; blobman ls shows ids, names of files are not kept"), line)

    async def test_no_such_blob_and_no_server(self) -> None:
        self.let(remote="", token_file="")
        self.assertIn("no server", await self.refuse(3, "get", "missing"))

    async def test_a_pipe(self) -> None:
        blob_id = await self.put(b"x" * 300_000)
        reading, writing = os.pipe()
        with open(reading, "rb") as end, open(writing, "w") as out:
            received = deferToThread(end.read)
            parsed_stdout, sys.stdout = sys.stdout, out
            try:
                code = await self._carry_out(("get", blob_id))
            finally:
                sys.stdout = parsed_stdout
            out.close()
            self.assertEqual((code, await received), (0, b"x" * 300_000))


class TerminalTests(ServerCase):
    async def get(self, *options: str) -> bytes:
        """Get a blob on a terminal, and give what that has got."""
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        tty.setraw(slave)
        os.set_blocking(master, False)
        self.addCleanup(setattr, sys, "stdout", sys.stdout)
        with open(slave, "w") as sys.stdout:
            self.code = await self._carry_out(("get", *options))
            return os.read(master, 100) if select.select([master], [], [], 0)[0] else b""

    async def test_text(self) -> None:
        text = "Gr\u00fc\u00dfe\tand\r\nso on\n".encode()
        await self.put(text, "--id", "text")
        self.assertEqual((await self.get("text"), self.code), (text, 0))
        await self.put("\u00fc".encode() * 5000, "--id", "long")
        await self.put(b"a" + "\u00fc".encode() * 5000, "--id", "cut")
        for blob_id in ("long", "cut"):
            self.assertTrue(await self.get(blob_id))

    async def test_what_would_wreck_it(self) -> None:
        late = b"x" * 2_000_000 + b"\x1b[2J"
        for number, content in enumerate(
            (b"a\0", b"\xff\xfe", b"\x1b[2J", b"\x9b2J", b"cut \xc3", late)
        ):
            await self.put(content, "--id", str(number))
            with open(self.path("err"), "w+") as err, redirect_stderr(err):
                shown = await self.get(str(number))
                err.seek(0)
                self.assertEqual((shown, self.code), (b"", 2))
                self.assertEqual(
                    err.read(),
                    f"blobman: {number} is not text:"
                    " give -o FILE, or -o - to have it on the terminal\n",
                )
            if content is not late:
                shown = await self.get(str(number), "-o", "-")
                self.assertEqual((shown, self.code), (content, 0))
