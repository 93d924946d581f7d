from __future__ import annotations

from .harness import NOWHERE, ServerCase


class RemoveTests(ServerCase):
    async def test_here_and_there(self) -> None:
        await self.put(b"a", "--id", "a")
        await self.put(b"b", "--id", "b")
        self.assertEqual((await self.succeed("rm", "a", "b")).out, "")
        self.assertEqual((await self.succeed("ls")).out, "")
        self.assertEqual((await self.succeed("count")).out, "0\n")

    async def test_one_that_is_missing_does_not_stop_the_others(self) -> None:
        await self.put(b"a", "--id", "a")
        self.assertIn("'missing'", await self.refuse(3, "rm", "missing", "a"))
        self.assertEqual((await self.succeed("ls")).out, "")

    async def test_a_server_that_is_down(self) -> None:
        await self.put(b"a", "--id", "a")
        line = await self.refuse(6, "rm", "a", "--remote", NOWHERE)
        self.assertIn("blobman sync will delete it", line)
        self.assertEqual((await self.succeed("ls")).out, "")
        await self.run_command("sync")
        self.assertEqual((await self.succeed("count")).out, "0\n")

    async def test_local_only_needs_no_server(self) -> None:
        await self.put(b"a", "--id", "a", "--local-only")
        self.let(remote="", token_file="")
        await self.succeed("rm", "a")

    async def test_json(self) -> None:
        await self.put(b"a", "--id", "a")
        self.assertEqual((await self.succeed("rm", "a", "--json")).records, [{"deleted": "a"}])


class FlagTests(ServerCase):
    async def test_set_show_and_clear(self) -> None:
        await self.put(b"a", "--id", "a")
        self.assertEqual((await self.succeed("flags", "a")).out, "")
        await self.succeed("flags", "a", "pending", "FAILED")
        self.assertEqual(sorted((await self.succeed("flags", "a")).lines), ["FAILED", "PENDING"])
        await self.succeed("flags", "a", "--clear")
        outcome = await self.succeed("flags", "a", "--json")
        self.assertEqual(outcome.records, [{"id": "a", "flags": []}])

    async def test_what_is_no_flag(self) -> None:
        self.assertIn("processed", (await self.refuse(2, "flags", "a", "DONE")).lower())
        self.assertIn("--clear", await self.refuse(2, "flags", "a", "FAILED", "--clear"))

    async def test_a_missing_blob(self) -> None:
        self.assertIn("'a'", await self.refuse(3, "flags", "a"))
        self.assertIn("'a'", await self.refuse(3, "flags", "a", "FAILED"))

    async def test_they_need_neither_store_nor_keys(self) -> None:
        await self.put(b"a", "--id", "a")
        self.let(store="", key_file="", secret_file="")
        await self.succeed("flags", "a", "FAILED")


class SyncTests(ServerCase):
    async def sync(self, *options: str) -> list[str]:
        outcome = await self.run_command("sync", *options)
        self.assertEqual((outcome.code, outcome.out), (0, ""))
        return outcome.err.splitlines()

    async def sync_counts(self, *options: str) -> list[str]:
        lines = await self.sync(*options)
        return sorted(line for line in lines if not line.startswith("fetched "))

    async def test_what_is_missing_comes(self) -> None:
        await self.put(b"a", "--id", "a")
        self.another_machine()
        self.assertEqual(await self.sync(), ["fetched a, 754 B", "1 in step; 1 fetched"])
        self.assertEqual((await self.succeed("ls")).lines, ["a"])
        self.assertEqual(await self.sync("--quiet"), [])

    async def test_namespaces(self) -> None:
        for namespace in ("one", "two", "three"):
            await self.put(b"a", "-n", namespace)
        self.another_machine()
        lines = await self.sync_counts("-n", "one", "-n", "two")
        self.assertEqual(
            lines,
            [
                "1 in step in namespace one; 1 fetched",
                "1 in step in namespace two; 1 fetched",
            ],
        )
        self.assertEqual((await self.succeed("ls", "-n", "three")).lines, [])

    async def test_the_name_that_the_server_has_for_the_default_namespace(self) -> None:
        await self.put(b"a", "--id", "a")
        for arguments in (["ls"], ["ls", "--where", "server"], ["rm", "a"], ["sync"], ["count"]):
            said = (await self.run_command(*arguments, "-n", "default")).err
            self.assertIn("namespace must not be 'default'", said, arguments)
        self.assertEqual((await self.succeed("ls")).lines, ["a"])

    async def test_all_namespaces(self) -> None:
        await self.put(b"a", "-n", "one")
        self.assertEqual(
            await self.sync_counts("--all"), ["0 in step", "1 in step in namespace one"]
        )

    async def test_all_namespaces_on_a_machine_that_was_recovered(self) -> None:
        await self.put(b"a", "--id", "a", "-n", "one")
        await self.put(b"b", "--id", "b", "-n", "two")
        self.another_machine()
        self.assertEqual(
            sorted(await self.sync("--all")),
            [
                "0 in step",
                "1 in step in namespace one; 1 fetched",
                "1 in step in namespace two; 1 fetched",
                "fetched a, 754 B in namespace one",
                "fetched b, 754 B in namespace two",
            ],
        )
        self.assertEqual((await self.succeed("get", "b", "-n", "two")).out, "b")
        self.assertEqual(
            await self.sync_counts("--all"),
            ["0 in step", "1 in step in namespace one", "1 in step in namespace two"],
        )

    async def test_all_namespaces_of_a_server_that_is_down(self) -> None:
        self.assertIn("namespaces", await self.refuse(6, "sync", "--all", "--remote", NOWHERE))

    async def test_json(self) -> None:
        await self.put(b"a", "--id", "a")
        records = (await self.succeed("sync", "--json")).records
        moved = {"fetched": 0, "sent": 0, "deleted": 0}
        self.assertEqual(records, [{"namespace": "", "counts": {"SYNCED": 1}, **moved}])

    async def test_what_was_deleted_is_counted(self) -> None:
        await self.put(b"a", "--id", "a")
        self.another_machine()
        await self.sync()
        await self.succeed("rm", "a", "--store", self.path("third store"))
        self.assertEqual(await self.sync(), ["0 in step; 1 deleted"])

    async def test_a_namespace_that_is_not_allowed_is_reported_once(self) -> None:
        outcome = await self.run_command("sync", "-n", "a/b")
        self.assertEqual(outcome.code, 1)
        self.assertEqual(outcome.err.count("namespace must be 1 to 254 characters"), 1)

    async def test_one_that_fails_does_not_stop_the_others(self) -> None:
        await self.put(b"theirs", "--id", "taken")
        self.another_machine()
        for blob_id in ("taken", "free"):
            await self.run_command(
                "put", self.write("x", b"ours"), "--id", blob_id, "--remote", NOWHERE
            )
        outcome = await self.run_command("sync")
        self.assertEqual(outcome.code, 4)
        sent, failed, counts = outcome.err.splitlines()
        self.assertTrue(sent.startswith("sent free, "), sent)
        self.assertTrue(failed.startswith("blobman: sync: "), failed)
        self.assertIn("'taken'", failed)
        self.assertEqual(counts, "1 in step, 1 refused by the server; 1 sent")

    async def test_a_server_that_is_down(self) -> None:
        outcome = await self.run_command("sync", "--remote", NOWHERE)
        self.assertEqual(outcome.code, 6)
        self.assertTrue(outcome.err.startswith("blobman: sync: "), outcome)
