"""Sealed blobs: the preamble codec, and the incremental sealer and opener. No I/O."""
