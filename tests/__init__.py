"""Every run is the same: hypothesis draws the same examples, and no machine is too slow."""

import os

from hypothesis import settings
from twisted.trial import util

# What hangs is ended; what is slow, because much else is under way, is not.
util.DEFAULT_TIMEOUT_DURATION = 900.0

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
