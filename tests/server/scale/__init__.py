"""Several servers on one catalogue in PostgreSQL and one object store."""
