"""
The examples of a page, taken from its blocks of code.

- ``sh``: commands. All of a page run in one shell, one after another. The last command of a block
  may be one that runs until it is stopped (``blobman serve``, ``twist``): it goes to the background
  when it has written the last line that the page shows of it.
- ``python`` with a first line such as ``# phone.py``: a file, which is written.
- ``python`` that calls ``react``: a program, which is run as it stands.
- other ``python``: a fragment, to be executed by the test.
- ``text``: what the example before it prints; ``...`` stands for anything.

What a command asks on the terminal, ``Reader`` answers. Other blocks, such as ``console``, are not
run.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "=== example "


@dataclass(frozen=True)
class Example:
    """
    A block of code.

    :ivar language: ``sh`` or ``python``.
    :ivar line: where it begins in its page.
    :ivar shown: what the page says that it prints; None if it says nothing.
    """

    language: str
    code: str
    line: int
    shown: str | None = None

    @property
    def file_name(self) -> str | None:
        """The name in the first line."""
        named = re.match(r"# ([\w/.-]+\.py)\n", self.code)
        return named[1] if named and self.language == "python" else None

    @property
    def is_program(self) -> bool:
        return self.language == "python" and re.search(r"^react\(", self.code, re.M) is not None

    @property
    def is_fragment(self) -> bool:
        return self.language == "python" and not (self.file_name or self.is_program)

    @property
    def sets_up(self) -> bool:
        """Whether it is about installing, which the tests have behind them."""
        return ".venv" in self.code


def find_examples(page: Path) -> list[Example]:
    """Give the examples of a page, in their order."""
    text = page.read_text("utf-8")
    examples: list[Example] = []
    for block in BLOCK.finditer(text):
        language, code = block.groups()
        if language == "text":
            examples[-1] = replace(examples[-1], shown=code)
        elif language in ("sh", "python"):
            line = text.count("\n", 0, block.start()) + 2
            examples.append(Example(language, code, line))
    return [it for it in examples if not it.sets_up]


def make_script(examples: list[Example]) -> str:
    """Make one script for bash of all examples but the fragments; it marks where each begins."""
    parts = [_START]
    for number, example in enumerate(examples):
        if not example.is_fragment:
            parts.append(f"printf '\\n{MARK}{number}\\n'\n{_commands(example, number)}")
    return "\n".join(parts)


_START = """\
set -euo pipefail
pids=() outputs=()
stop() {
    for pid in "${pids[@]}"; do kill "$pid" || true; done
    for output in "${outputs[@]}"; do cat <&"$output" >/dev/null; done
}
trap stop EXIT
wait_for() {
    pids+=("$!") outputs+=("$1")
    while IFS= read -t 30 -r line <&"$1"; do
        printf '%s\\n' "$line"
        if [[ $line == *"$2"* ]]; then return; fi
    done
    exit 1
}
"""


def _commands(example: Example, number: int) -> str:
    if example.language == "python":
        name = example.file_name or f"program-{number}.py"
        written = f"mkdir -p {Path(name).parent}\ncat > {name} <<'PYTHON'\n{example.code}PYTHON\n"
        return written + (f"python {name}\n" if example.file_name is None else "")
    *before, last = example.code.replace("\\\n", " ").splitlines()
    if not re.match(r"([A-Z]+=\S+ )*(blobman serve|twist) ", last):
        return example.code
    shown = (example.shown or "listening on").splitlines()[-1].removeprefix("...")
    background = f"exec {{output}}< <(exec env {last} 2>&1)\nwait_for $output {shlex.quote(shown)}"
    return "\n".join([*before, background, ""])


def split_output(output: str) -> dict[int, str]:
    """Give what each example of a script has printed, by its number."""
    _, *parts = output.split(f"\n{MARK}")
    numbered = [part.split("\n", 1) for part in parts]
    return {int(number): printed for number, printed in numbered}
