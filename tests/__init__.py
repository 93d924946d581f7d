"""
Every run is the same: hypothesis draws the same examples, and no machine is too slow. What passes
leaves no files behind.
"""

import os

from hypothesis import settings
from twisted.trial import unittest, util

from .folders import keep_folders_of_failures_only

keep_folders_of_failures_only(unittest.SynchronousTestCase)

# What hangs is ended; what is slow, because much else is under way, is not.
util.DEFAULT_TIMEOUT_DURATION = 900.0

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
