"""Makes ``twist blobman`` known to Twisted."""

from twisted.application.service import ServiceMaker

blobman = ServiceMaker(
    "blobman",
    "blobman.server.running.plugin",
    "A server for end-to-end encrypted blobs.",
    "blobman",
)
