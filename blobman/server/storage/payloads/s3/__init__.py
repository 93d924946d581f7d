"""
Payloads as objects of an S3 object store: :class:`S3Payloads`.

``bucket`` is where they are. ``client`` asks for what is done: ``signing`` signs a request, an
``exchange`` is one on its way, with the content that it is ``sending``, and ``answers`` says what
the answer means. ``writing`` makes an object, by ``puts`` of all of it or of its ``parts``;
``reading`` reads one, by a ``stream`` of some of it. ``store`` puts it together.
"""

from __future__ import annotations

from .bucket import Bucket
from .signing import default_region
from .store import S3Payloads

__all__ = ["Bucket", "S3Payloads", "default_region"]
