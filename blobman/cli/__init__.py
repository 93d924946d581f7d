"""The ``blobman`` command."""
