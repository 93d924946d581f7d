"""The HTTP client of a blobs server."""
