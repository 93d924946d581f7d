"""What the project says about itself in two places says the same in both."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent


def numbers(version: str) -> tuple[int, ...]:
    """Make versions comparable: 6.0 is 6.0.0."""
    found = [int(part) for part in version.split(".")]
    while found and found[-1] == 0:
        found.pop()
    return tuple(found)


def versions(text: str, operator: str) -> dict[str, tuple[int, ...]]:
    """Find each package and its version."""
    found = re.findall(rf"([A-Za-z][\w.-]*)(?:\[\w+\])?{operator}([\d.]+)", text)
    return {name.lower(): numbers(version) for name, version in found}


class VersionTests(SynchronousTestCase):
    def test_the_oldest_dependencies_are_the_lower_bounds(self) -> None:
        project = (ROOT / "pyproject.toml").read_text("utf-8")
        bounds = versions(project, ">=")
        oldest = versions((ROOT / "tests" / "oldest.txt").read_text("utf-8"), "==")
        dependencies = project.partition("\ndependencies = [")[2].partition("]")[0]
        self.assertEqual({name: bounds.get(name) for name in oldest}, oldest)
        self.assertLessEqual({*versions(dependencies, ">="), "click", "hypothesis"}, set(oldest))

    def test_each_python_is_tested(self) -> None:
        project = (ROOT / "pyproject.toml").read_text("utf-8")
        declared = re.findall(r"Python :: 3\.(\d+)", project)
        tox = (ROOT / "tox.ini").read_text("utf-8")
        listed = re.search(r"py\{([\d,]+)\}", tox)
        assert listed is not None
        self.assertEqual(listed[1].split(","), [f"3{minor}" for minor in declared])
        self.assertTrue(declared)


class ReadmeTests(SynchronousTestCase):
    def test_one_command_runs_the_tests(self) -> None:
        # .ci/run looks for it in just this way.
        blocks = re.findall(
            r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.M | re.S
        )
        lines = [line for block in blocks for line in block.splitlines()]
        self.assertEqual(len([line for line in lines if "twisted.trial tests" in line]), 1)
