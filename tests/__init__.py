"""Every run is the same: hypothesis draws the same examples, and no machine is too slow."""

from hypothesis import settings

settings.register_profile("blobman", derandomize=True, deadline=None)
settings.load_profile("blobman")
