"""Every example of the documentation does what its page shows."""

from __future__ import annotations

import ast
import contextlib
import doctest
import inspect
import io
import json
import os
import shutil
import sys
import types
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase, TestCase

from ..ports import own_port
from ..support import SECRET, ServerTestCase
from .pages import Example, find_examples, make_script, split_output
from .reader import PASSPHRASE, Reader
from .soledads import secrets_file

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"

ELSEWHERE = {"protocol.md", "running-a-server.md", "performance.md"}
"""Pages with tests of their own."""

SOLEDADS = ROOT / "tests" / "vectors" / "soledad-local-db"

FILES: dict[str, dict[str, bytes]] = {
    "README.md": {"holiday.mp4": b"\0" * 10_000},
    "how-to/from-soledad.md": {
        "store/alice_blobs.db": (SOLEDADS / "alice_blobs.db").read_bytes(),
        "soledad.key": json.loads((SOLEDADS / "alice_blobs.json").read_bytes())["key"].encode(),
    },
    "how-to/port-from-soledad.md": {"soledad.json": secrets_file(PASSPHRASE)},
}
"""What a page takes for granted."""

PORT = "8080"
"""The port in the pages; a free one takes its place."""

_COMMANDS = {
    "blobman": "-m blobman",
    "python": "",
    "twist": "-c 'import sys; del sys.path[0]; from twisted.application.twist._twist "
    'import Twist; sys.argv[0] = "twist"; Twist.main()\'',
}


def examples_of(name: str) -> list[Example]:
    """Give the examples of a page; ``name`` is relative to ``docs``, but for the README."""
    return find_examples(ROOT / name if name == "README.md" else DOCS / name)


class ExampleCase(TestCase):
    """Compares what is printed with what is shown."""

    def check(self, page: str, example: Example, printed: str) -> None:
        if example.shown is not None and not doctest.OutputChecker().check_output(
            example.shown.rstrip("\n"), printed.rstrip("\n"), doctest.ELLIPSIS
        ):
            self.fail(f"{page}:{example.line} prints\n{printed}instead of\n{example.shown}")


class ScriptTests(ExampleCase):
    """The commands and programs of each page, in a fresh folder."""

    if shutil.which("bash") is None:
        skip = "needs bash"

    async def run_page(self, page: str) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        for name, content in FILES.get(page, {}).items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        port = str(own_port(self))
        examples = examples_of(page)
        script = make_script(examples).replace(PORT, port)
        reader = Reader()
        self.addCleanup(reader.close)
        tools = environment(self.mktemp(), folder)
        outcome = await reader.run(["bash", "-c", script], tools, folder)
        text = outcome.out.replace(port, PORT)
        self.assertEqual(outcome.code, 0, f"{page}: {text}\n{outcome.err}\n{reader.said}")
        for number, printed in split_output(text).items():
            self.check(page, examples[number], printed)

    async def test_readme(self) -> None:
        await self.run_page("README.md")

    async def test_tutorial(self) -> None:
        await self.run_page("tutorial.md")

    async def test_application(self) -> None:
        await self.run_page("how-to/application.md")

    async def test_asyncio(self) -> None:
        await self.run_page("how-to/asyncio.md")

    async def test_twist(self) -> None:
        await self.run_page("how-to/twist.md")

    async def test_testing(self) -> None:
        await self.run_page("how-to/testing.md")

    async def test_from_soledad(self) -> None:
        await self.run_page("how-to/from-soledad.md")

    async def test_port_from_soledad(self) -> None:
        await self.run_page("how-to/port-from-soledad.md")

    async def test_tls(self) -> None:
        if shutil.which("openssl") is None:
            self.skipTest("needs openssl")
        await self.run_page("how-to/tls.md")


class FragmentTests(ExampleCase, ServerTestCase):
    """The fragments of each page, one after another, with a ``manager`` and a server."""

    async def run_page(self, page: str) -> None:
        names: dict[str, Any] = {
            "manager": self.manager(),
            "folder": self.folder,
            "secret": SECRET,
            "token": self.token,
        }
        here = os.getcwd()
        os.chdir(self.folder)
        self.addCleanup(os.chdir, here)
        for example in examples_of(page):
            if example.is_fragment:
                printed = io.StringIO()
                with contextlib.redirect_stdout(printed):
                    await execute(example.code, f"{page}:{example.line}", names)
                self.check(page, example, printed.getvalue())

    async def test_application(self) -> None:
        await self.run_page("how-to/application.md")

    async def test_security(self) -> None:
        await self.run_page("security.md")

    async def test_errors(self) -> None:
        await self.run_page("how-to/errors.md")


async def execute(code: str, name: str, names: dict[str, Any]) -> None:
    """Execute code that may use ``await`` outside of functions."""
    compiled = compile(code, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    running = types.FunctionType(compiled, names)()
    if inspect.iscoroutine(running):
        await running


class CoverageTests(SynchronousTestCase):
    def test_no_page_is_forgotten(self) -> None:
        pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
        pages = {page for page in pages if not page.startswith("_")} - ELSEWHERE
        with_examples = {page for page in pages if examples_of(page)}
        scripts = {
            page for page in with_examples if not all(it.is_fragment for it in examples_of(page))
        }
        fragments = {
            page for page in with_examples if any(it.is_fragment for it in examples_of(page))
        }
        self.assertEqual(scripts, {page for page in tested(ScriptTests) if page != "README.md"})
        self.assertEqual(fragments, tested(FragmentTests))


def tested(case: type[ExampleCase]) -> set[str]:
    """Give the pages that are named in the tests of a case."""
    tree = ast.parse(inspect.getsource(sys.modules[__name__]))
    (found,) = [it for it in tree.body if isinstance(it, ast.ClassDef) and it.name == case.__name__]
    constants = [it.value for it in ast.walk(found) if isinstance(it, ast.Constant)]
    return {it for it in constants if isinstance(it, str) and it.endswith(".md")}


def environment(tools: str, home: Path) -> dict[str, str]:
    """Give an environment in which the commands are those of this Python and this checkout."""
    folder = Path(tools).absolute()
    folder.mkdir()
    for name, arguments in _COMMANDS.items():
        shim = folder / name
        shim.write_text(
            f'#!/bin/sh\nPYTHONPATH="${{PYTHONPATH:+$PYTHONPATH:}}{ROOT}"\nexport PYTHONPATH\n'
            f'exec "{sys.executable}" {arguments} "$@"\n'
        )
        shim.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(home), "LANG": "C.UTF-8"}
