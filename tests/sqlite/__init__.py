"""Databases of SQLite, and the files beside them."""
