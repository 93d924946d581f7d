"""A server that runs: its service, its listeners, its figures, and who looks after it."""
