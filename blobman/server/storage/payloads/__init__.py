"""
The bytes of large blobs, each under a key that is drawn once and never written again.

``folder`` keeps them in files, ``s3`` in an object store, and ``memory`` for tests; ``pair`` sees
that a store and a catalogue belong together.
"""
