"""The other end: a blobs server that cannot read what it keeps."""
