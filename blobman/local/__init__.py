"""
The encrypted SQLite store on this machine.

- :mod:`.store`: :class:`BlobStore`, blobs and their content
- :mod:`.statuses`: its other half, how each blob stands with the server
- :mod:`.staging`: a download on its way in; :mod:`.intake`: how anything gets in
- :mod:`.reader`: the file that ``get`` returns; :mod:`.source`: the one that ``put`` takes
- :mod:`.records`, :mod:`.payload_rows`, :mod:`.batches`, :mod:`.listings`, :mod:`.comparison`:
  what is asked and decided in SQL, about one blob and about many
- :mod:`.recent`: what was put a moment ago, and need not be read again
- :mod:`.schema`: the tables; :mod:`.digests`: what is compared when a payload is read
- :mod:`.payloads`, :mod:`.payload_writer`: the files of large payloads; :mod:`.strays`: those that
  are not where they should be; :mod:`.wholeness`: whether a file is there, and as long as it was
- :mod:`.database`, :mod:`.writer`, :mod:`.workers`, :mod:`.budget`: threads, transactions, memory
- :mod:`.soledad`, :mod:`.journal`: the database that Soledad left; :mod:`.mapping`: what becomes
  of each row; :mod:`.rebuilding`, :mod:`.takeover`: a new one from it, and in its place;
  :mod:`.importing`: the same with a report
- :mod:`.connection`, :mod:`.lock`, :mod:`.faults`: encryption, who has it open, what goes wrong
- :mod:`.connections`: opening it, and what is checked before; :mod:`.wal`, :mod:`.acknowledged`:
  whether its log lost anything; :mod:`.room`: room for deletions on a full disk
"""

from __future__ import annotations

from .connection import as_bytes
from .importing import import_soledad
from .mapping import SoledadReport
from .store import BlobStore

__all__ = ["BlobStore", "SoledadReport", "as_bytes", "import_soledad"]
