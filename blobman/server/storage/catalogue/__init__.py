"""Everything that is said about blobs, in one transactional catalogue. It is the truth."""
