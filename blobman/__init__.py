"""End-to-end encrypted, immutable blobs for Twisted."""
