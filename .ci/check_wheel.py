"""Check that a wheel holds what it must, and nothing that belongs to others."""

from __future__ import annotations

import sys
from pathlib import PurePosixPath
from zipfile import ZipFile

NEEDED = {"blobman/__init__.py", "blobman/py.typed", "twisted/plugins/blobman_plugin.py"}


def problems(names: set[str]) -> list[str]:
    """Say what is wrong with a wheel that holds these files."""
    found = [f"{name} is missing" for name in sorted(NEEDED - names)]
    for name in sorted(names):
        path = PurePosixPath(name)
        is_ours = path.parts[0] == "blobman" or path.parts[0].startswith("blobman-")
        if "__pycache__" in path.parts or path.name == "dropin.cache":
            found.append(f"{name} is left over from a run")
        elif not is_ours and name not in NEEDED:
            found.append(f"{name} is not ours")
    return found


def main() -> int:
    """Check the wheel that the command line names."""
    with ZipFile(sys.argv[1]) as wheel:
        found = problems(set(wheel.namelist()))
    print("\n".join(found) or "the wheel is complete")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
