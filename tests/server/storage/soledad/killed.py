"""A process that takes a folder over, says how far it has come, and is killed meanwhile."""

from __future__ import annotations

import os
import sys
import time

from blobman.server.storage.catalogue.folder import CatalogueFolder
from blobman.server.storage.catalogue.writer import Writer
from blobman.server.storage.soledad import taking
from blobman.server.storage.soledad.adoption import Adoption
from blobman.server.storage.soledad.files import Odd


class Speaker:
    """A listener that says all that it hears."""

    def progress(self, report: taking.Report) -> None:
        print(report.blobs, flush=True)

    def ended(self, report: taking.Report) -> None:
        print("all", flush=True)

    def odd(self, odd: Odd) -> None:
        print(odd.path, flush=True)


def main(root: str) -> None:
    taking.PROGRESS_EVERY = 10
    place = CatalogueFolder(os.path.join(root, ".blobman"))
    writer = Writer(place, time.time_ns, Adoption(root, Speaker()))
    writer.open()
    print("taken over", flush=True)
    writer.close()
    print("closed", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
