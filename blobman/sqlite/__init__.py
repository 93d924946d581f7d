"""
What a store and a catalogue have in common: databases of SQLite, of SQLite3 Multiple Ciphers.

- ``connection`` opens one whose pages are encrypted, and carry authentication tags.
- ``preallocation`` takes room on the disk, for one and for what is beside it.
- ``wal`` reads the log beside one, as the file that it is.
"""

from __future__ import annotations

from .connection import CREATE, KEY_SIZE, ask, connect, file_uri, pragma, transaction
from .preallocation import Preallocator, take_room
from .wal import Frame, Log, LogFile, Salts, log_of, read_log

__all__ = [
    "CREATE",
    "KEY_SIZE",
    "Frame",
    "Log",
    "LogFile",
    "Preallocator",
    "Salts",
    "ask",
    "connect",
    "file_uri",
    "log_of",
    "pragma",
    "read_log",
    "take_room",
    "transaction",
]
