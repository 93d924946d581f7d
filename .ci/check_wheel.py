"""Check that a wheel holds what it must, and nothing that belongs to others."""

from __future__ import annotations

import sys
from pathlib import PurePosixPath
from zipfile import ZipFile

NEEDED = {"blobman/__init__.py", "blobman/py.typed"}


def is_ours(path: PurePosixPath) -> bool:
    """Whether a file is the package's, its metadata, or the plugin for ``twist``."""
    if path.parts[:2] == ("twisted", "plugins"):
        return len(path.parts) == 3 and path.name.startswith("blobman")
    return path.parts[0] == "blobman" or path.parts[0].startswith("blobman-")


def problems(names: set[str]) -> list[str]:
    """Say what is wrong with a wheel that holds these files."""
    found = [f"{name} is missing" for name in sorted(NEEDED - names)]
    if not any(name.startswith("twisted/plugins/blobman") for name in names):
        found.append("the plugin for twist is missing")
    for path in map(PurePosixPath, sorted(names)):
        if "__pycache__" in path.parts or path.name == "dropin.cache":
            found.append(f"{path} is left over from a run")
        elif not is_ours(path):
            found.append(f"{path} is not ours")
    return found


def main() -> int:
    """Check the wheel that the command line names."""
    with ZipFile(sys.argv[1]) as wheel:
        found = problems(set(wheel.namelist()))
    print("\n".join(found) or "the wheel is complete")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
