"""
The types of the examples: what an application that is checked strictly would be told of them.

The Python of a page is written into a folder of its own. Its fragments become one coroutine, with
what the tests give them; see ``FragmentTests``.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import textwrap
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from .pages import Example, find_examples
from .test_examples import DOCS, ROOT

SETTINGS = """\
[mypy]
strict = True
plugins = mypy_zope:plugin
explicit_package_bases = True
# Neither Twisted's services nor the assertions of trial have types.
disallow_untyped_calls = False
"""

FRAGMENTS = """\
from blobman import BlobManager


async def page(manager: BlobManager, folder: str, secret: str, token: str) -> None:
"""


def write_modules(page: Path, folder: Path) -> None:
    """Write the Python of a page into a folder."""
    examples = [it for it in find_examples(page) if it.language == "python"]
    for number, example in enumerate(it for it in examples if not it.is_fragment):
        module = folder / (example.file_name or f"program_{number}.py")
        module.parent.mkdir(parents=True, exist_ok=True)
        module.write_text(example.code, "utf-8")
    fragments = [it for it in examples if it.is_fragment]
    if fragments:
        (folder / "fragments.py").write_text(one_coroutine(fragments), "utf-8")


def one_coroutine(fragments: list[Example]) -> str:
    return FRAGMENTS + "\n".join(textwrap.indent(it.code, "    ") for it in fragments)


class TypeTests(SynchronousTestCase):
    if not all(map(importlib.util.find_spec, ("mypy", "mypy_zope"))):
        skip = "needs mypy and mypy-zope"

    def setUp(self) -> None:
        self.base = Path(self.mktemp()).absolute()
        self.base.mkdir()
        self.settings = self.base / "mypy.ini"
        self.settings.write_text(SETTINGS, "utf-8")

    def look_at(self, folder: Path) -> str:
        """Give what mypy has to say about the modules in a folder."""
        modules = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.py"))
        options = ["--config-file", str(self.settings), "--cache-dir", str(self.base / "cache")]
        command = [sys.executable, "-m", "mypy", "--no-error-summary", *options, *modules]
        # Where the package is, if it is not installed.
        variables = {"MYPYPATH": str(ROOT)}
        done = subprocess.run(
            command, cwd=folder, env=variables, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    def test_all_pages(self) -> None:
        said = {}
        for number, page in enumerate([ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]):
            folder = self.base / str(number)
            folder.mkdir()
            write_modules(page, folder)
            if any(folder.iterdir()):
                said[str(page.relative_to(ROOT))] = self.look_at(folder)
        self.assertIn("README.md", said)
        self.assertEqual({page: text for page, text in said.items() if text}, {})

    def test_it_finds_what_is_wrong(self) -> None:
        (self.base / "wrong.py").write_text(
            "from blobman import BlobManager\n\n\n"
            "async def work(manager: BlobManager) -> None:\n"
            "    (await manager.get('a')).no_such_name\n"
            "    number: int = await manager.remote_list()\n",
            "utf-8",
        )
        said = self.look_at(self.base)
        self.assertIn('"BlobReader" has no attribute "no_such_name"', said)
        self.assertIn('expression has type "list[str]", variable has type "int"', said)
