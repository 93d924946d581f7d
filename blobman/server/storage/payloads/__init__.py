"""The bytes of large blobs, each under a key that is drawn once and never written again."""
