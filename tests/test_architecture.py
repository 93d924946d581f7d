"""
Who may import whom, held against the syntax trees of the package.

A *room* is a module or a folder right under ``blobman``; the package itself, with its public
names, is the room ``""``.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from twisted.trial.unittest import SynchronousTestCase

import blobman

PACKAGE = Path(blobman.__file__).parent

# From the ground up: a room stands on rooms above it in this table, so there is no way round.
STANDS_ON: dict[str, set[str]] = {
    "clocks": set(),
    "errors": set(),
    "model": {"errors"},
    "results": {"errors", "model"},
    "protocol": {"errors", "model"},
    "wire": {"errors", "model", "protocol"},
    # What a client and a server have in common.
    "disk": {"errors"},
    "sqlite": {"errors"},
    "threads": {"errors"},
    "crypto": {"errors", "model"},
    "document": {"errors", "model"},
    "reconciliation": {"errors", "model"},
    "interfaces": {"errors", "model", "document", "reconciliation"},
    "limits": set(),
    "arguments": {"errors", "model", "document"},
    "transfers": {"errors", "model", "crypto", "document", "interfaces"},
    "synchronizing": {
        "errors",
        "model",
        "reconciliation",
        "results",
        "interfaces",
        "transfers",
    },
    "sync": {
        "limits",
        "arguments",
        "errors",
        "model",
        "results",
        "interfaces",
        "transfers",
        "synchronizing",
    },
    "local": {
        "disk",
        "sqlite",
        "threads",
        "errors",
        "model",
        "arguments",
        "document",
        "protocol",
        "crypto",
        "reconciliation",
        "interfaces",
    },
    "remote": {"clocks", "errors", "model", "protocol", "wire", "crypto", "interfaces"},
    "queries": {"errors", "model", "protocol", "synchronizing", "transfers", "sync"},
    "manager": {
        "clocks",
        "queries",
        "arguments",
        "errors",
        "model",
        "crypto",
        "interfaces",
        "document",
        "transfers",
        "local",
        "remote",
    },
    "": {
        "clocks",
        "document",
        "errors",
        "interfaces",
        "local",
        "manager",
        "model",
        "results",
        "sync",
    },
    # It could not decrypt if it wanted to.
    "server": {
        "clocks",
        "disk",
        "sqlite",
        "threads",
        "errors",
        "model",
        "protocol",
        "wire",
    },
    # What works on blobs has public names only.
    "cli": {"", "disk", "server"},
    "__main__": {"cli"},
    "testing": {
        "",
        "errors",
        "model",
        "document",
        "protocol",
        "crypto",
        "reconciliation",
        "interfaces",
        "server",
    },
}

# The same for the rooms within ``blobman.server``.
WITHIN_THE_SERVER: dict[str, set[str]] = {
    "accounts": set(),
    "storage": {"accounts"},
    "http": {"accounts", "storage"},
    "running": {"accounts", "http", "storage"},
}

# What these are given is all they know: no Twisted, no clock, no randomness, no I/O.
PURE = {"errors", "model", "results", "protocol", "crypto"}
PURE_MODULES = {"blobman.transfers.queue", "blobman.transfers.retry"}
PURE_IMPORTS = {
    "copy",
    "__future__",
    "base64",
    "binascii",
    "collections.abc",
    "cryptography.exceptions",
    "cryptography.hazmat.primitives.ciphers",
    "cryptography.hazmat.primitives.ciphers.algorithms",
    "cryptography.hazmat.primitives.ciphers.modes",
    "dataclasses",
    "enum",
    "heapq",
    "hmac",
    "itertools",
    "json",
    "re",
    "struct",
    "typing",
    "urllib.parse",
}
BUILTIN_DOORS = {"open", "print", "input", "exec", "eval", "__import__"}


class Import(NamedTuple):
    """
    :ivar name: the module, absolute.
    :ivar member: what is taken from it; empty if it is the module itself.
    :ivar on_import: whether it happens when the importing module is imported.
    """

    name: str
    member: str
    on_import: bool

    @property
    def full_name(self) -> str:
        return f"{self.name}.{self.member}" if self.member else self.name


def imports(source: str, module: str, is_package: bool) -> Iterator[Import]:
    """
    Find all imports of a module, at whatever depth.

    :param module: its absolute name.
    :param is_package: whether it is an ``__init__``.
    """
    yield from _imports(ast.parse(source), module.split("."), is_package, True)


def _imports(
    node: ast.AST, module: list[str], is_package: bool, on_import: bool
) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, "", on_import)
        elif isinstance(child, ast.ImportFrom):
            name = _absolute(child, module, is_package)
            for alias in child.names:
                yield Import(name, alias.name, on_import)
        else:
            is_function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from _imports(child, module, is_package, on_import and not is_function)


def _absolute(node: ast.ImportFrom, module: list[str], is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    up = node.level - 1 if is_package else node.level
    return ".".join([*module[: len(module) - up], *([node.module] if node.module else [])])


def room_of(full_name: str) -> str | None:
    """Name the room that a dotted name leads to; None outside the package."""
    parts = full_name.split(".")
    if parts[0] != "blobman":
        return None
    inside = parts[1] if len(parts) > 1 else ""
    is_room = (PACKAGE / inside).is_dir() or (PACKAGE / f"{inside}.py").is_file()
    return inside if is_room else ""


def room_in_the_server(full_name: str) -> str | None:
    """Name the room of the server that a dotted name leads to; None outside of them."""
    parts = full_name.split(".")
    is_in_one = parts[:2] == ["blobman", "server"] and len(parts) > 2
    return parts[2] if is_in_one and parts[2] in WITHIN_THE_SERVER else None


class Module(NamedTuple):
    path: Path
    name: str
    room: str
    imports: list[Import]

    @property
    def is_pure(self) -> bool:
        return self.room in PURE or self.name in PURE_MODULES


def modules() -> list[Module]:
    """Read the whole package."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ["blobman", *path.relative_to(PACKAGE).with_suffix("").parts]
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        found.append(
            Module(
                path,
                name,
                room_of(name) or "",
                list(imports(path.read_text("utf-8"), name, is_package)),
            )
        )
    return found


def circles(graph: dict[str, set[str]]) -> Iterator[set[str]]:
    """Find who is imported by what it imports, however indirectly: sets of modules."""
    reached = {name: _reachable(graph, name) for name in graph}
    seen: set[str] = set()
    for name in sorted(graph):
        circle = {it for it in reached[name] if name in reached.get(it, ())}
        if circle and name not in seen:
            seen |= circle
            yield circle


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        more = graph.get(waiting.pop(), set()) - found
        found |= more
        waiting += more
    return found


def borrowed(source: str) -> set[str]:
    """Find the private attributes that the classes of a module have from somewhere else."""
    found: set[str] = set()
    for one in ast.walk(ast.parse(source)):
        if isinstance(one, ast.ClassDef):
            attributes = [node for node in ast.walk(one) if isinstance(node, ast.Attribute)]
            names = [node for node in ast.walk(one) if isinstance(node, ast.Name)]
            own = {node.attr for node in attributes if isinstance(node.ctx, ast.Store)}
            own |= {node.id for node in names if isinstance(node.ctx, ast.Store)}
            own |= {node.name for node in one.body if isinstance(node, _FUNCTIONS)}
            used = {node.attr for node in attributes if node.attr.startswith("_")}
            found |= {name for name in used - own if not name.endswith("__")}
    return found


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class RuleTests(SynchronousTestCase):
    def test_every_room_has_its_place(self) -> None:
        rooms = {module.room for module in modules()}
        self.assertEqual(rooms - set(STANDS_ON), set(), "say in STANDS_ON what it stands on")

    def test_rooms_import_only_what_they_stand_on(self) -> None:
        for module in modules():
            allowed = STANDS_ON[module.room] | {module.room}
            for item in module.imports:
                room = room_of(item.full_name)
                if room is not None:
                    self.assertIn(room, allowed, f"{module.name} imports {item.full_name}")

    def test_there_is_no_way_round(self) -> None:
        below: set[str] = set()
        for room, stands_on in STANDS_ON.items():
            self.assertEqual(stands_on - below, set(), f"{room!r} stands on what is not below it")
            below.add(room)

    def test_rooms_of_the_server_import_only_what_they_stand_on(self) -> None:
        for module in modules():
            room = room_in_the_server(module.name)
            for item in module.imports:
                other = room_in_the_server(item.full_name)
                if room and other and other != room:
                    self.assertIn(
                        other, WITHIN_THE_SERVER[room], f"{module.name} imports {item.full_name}"
                    )

    def test_http_knows_no_more_of_storage_than_it_asks_for(self) -> None:
        for module in modules():
            if room_in_the_server(module.name) == "http":
                for item in module.imports:
                    if room_in_the_server(item.full_name) == "storage":
                        self.assertIn(
                            item.name,
                            ("blobman.server.storage", "blobman.server.storage.interface"),
                            module.name,
                        )

    def test_no_modules_import_each_other_in_a_circle(self) -> None:
        # Also for types: who needs the other's types needs the other.
        names = {module.name for module in modules()}
        graph = {
            module.name: {
                target
                for item in module.imports
                for target in (item.full_name, item.name)
                if target in names and target != module.name
            }
            for module in modules()
            if room_in_the_server(module.name) or module.room == "transfers"
        }
        self.assertEqual([*circles(graph)], [])

    def test_the_rules_that_matter_most(self) -> None:
        # Whoever edits the table has to come past these.
        self.assertFalse(STANDS_ON["server"] & {"crypto", "local", "remote", "manager", ""})
        self.assertFalse({"local", "remote"} & STANDS_ON["sync"])
        self.assertNotIn("remote", STANDS_ON["local"])
        self.assertNotIn("local", STANDS_ON["remote"])
        self.assertEqual(STANDS_ON["cli"], {"", "disk", "server"})

    def test_the_synchronizer_s_private_parts_are_its_own(self) -> None:
        for name in ("blobman.queries", "blobman.manager"):
            (path,) = [module.path for module in modules() if module.name == name]
            self.assertEqual(borrowed(path.read_text("utf-8")), set(), name)

    def test_pure_modules_are_there(self) -> None:
        self.assertEqual(PURE_MODULES - {module.name for module in modules()}, set())

    def test_pure_rooms_import_nothing_that_acts(self) -> None:
        for module in modules():
            if module.is_pure:
                names = {item.name for item in module.imports if room_of(item.full_name) is None}
                self.assertEqual(names - PURE_IMPORTS, set(), module.name)

    def test_pure_rooms_use_no_builtin_that_acts(self) -> None:
        for module in modules():
            if module.is_pure:
                nodes = ast.walk(ast.parse(module.path.read_text("utf-8")))
                used = {node.id for node in nodes if isinstance(node, ast.Name)}
                self.assertEqual(used & BUILTIN_DOORS, set(), module.name)

    def test_nothing_imports_the_reactor_on_import(self) -> None:
        for module in modules():
            early = {item.full_name for item in module.imports if item.on_import}
            self.assertNotIn("twisted.internet.reactor", early, module.name)

    def test_no_reactor_is_there_after_importing_everything(self) -> None:
        # Covers what the syntax can't show: a library that imports it. The command's own
        # entry point runs a reactor, so it stays out.
        names = [one.name for one in modules() if not one.name.endswith("__main__")]
        script = (
            "import importlib, sys\n"
            f"for name in {names!r}: importlib.import_module(name)\n"
            "assert 'blobman.model' in sys.modules\n"
            "sys.exit('twisted.internet.reactor' in sys.modules)\n"
        )
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr.decode())


class ImportReaderTests(SynchronousTestCase):
    """The reader finds what the rules are about; else they could not fail."""

    def found(
        self, source: str, module: str = "blobman.local.store", package: bool = False
    ) -> set[str]:
        return {item.full_name for item in imports(source, module, package)}

    def test_absolute(self) -> None:
        self.assertEqual(self.found("import os.path, re as r"), {"os.path", "re"})
        self.assertEqual(self.found("from os import path as p"), {"os.path"})

    def test_relative(self) -> None:
        self.assertEqual(self.found("from . import schema"), {"blobman.local.schema"})
        self.assertEqual(self.found("from .schema import x"), {"blobman.local.schema.x"})
        self.assertEqual(self.found("from .. import remote"), {"blobman.remote"})
        self.assertEqual(self.found("from ..remote.client import x"), {"blobman.remote.client.x"})
        self.assertEqual(
            self.found("from .store import x\nfrom ..model import y", "blobman.local", True),
            {"blobman.local.store.x", "blobman.model.y"},
        )
        self.assertEqual(self.found("from .model import x", "blobman", True), {"blobman.model.x"})

    def test_at_any_depth(self) -> None:
        source = (
            "if x:\n    import a\n"
            "try:\n    import b\nexcept E:\n    import c\n"
            "class C:\n    import d\n    def f(self):\n        import e\n"
            "async def g():\n    from f import f\n"
            "match x:\n    case 1:\n        import h\n"
        )
        found = list(imports(source, "blobman.sync", False))
        early = {item.full_name for item in found if item.on_import}
        late = {item.full_name for item in found if not item.on_import}
        self.assertEqual(early, {"a", "b", "c", "d", "h"})
        self.assertEqual(late, {"e", "f.f"})

    def test_rooms(self) -> None:
        for name, room in (
            ("blobman", ""),
            ("blobman.BlobManager", ""),
            ("blobman.crypto", "crypto"),
            ("blobman.crypto.preamble.Preamble", "crypto"),
            ("blobman.model.Flags", "model"),
            ("twisted.internet.reactor", None),
            ("blobmanager", None),
        ):
            self.assertEqual(room_of(name), room)

    def test_rooms_of_the_server(self) -> None:
        for name, room in (
            ("blobman.server.http.site.BlobsSite", "http"),
            ("blobman.server.http", "http"),
            ("blobman.server.notes", None),
            ("blobman.server", None),
            ("blobman.local.http", None),
        ):
            self.assertEqual(room_in_the_server(name), room)

    def test_borrowed(self) -> None:
        source = (
            "class A(B):\n    _c = None\n"
            "    def __init__(self):\n        super().__init__()\n        self.__own = self._d\n"
            "    def _e(self):\n        return self._c, self.__own, self._e, self.f, super()._g\n"
        )
        self.assertEqual(borrowed(source), {"_d", "_g"})

    def test_circles(self) -> None:
        graph = {"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": {"e"}, "e": set(), "f": {"f", "e"}}
        self.assertEqual([*circles(graph)], [{"a", "b", "c"}, {"f"}])
        self.assertEqual([*circles({"a": {"b"}, "b": set()})], [])

    def test_the_package_is_read(self) -> None:
        found = {module.name: module for module in modules()}
        self.assertEqual(found["blobman"].room, "")
        self.assertEqual(found["blobman.crypto.opening"].room, "crypto")
        names = {item.full_name for item in found["blobman.crypto.opening"].imports}
        self.assertIn("blobman.errors.InvalidBlob", names)
