"""Payloads in an object store."""
