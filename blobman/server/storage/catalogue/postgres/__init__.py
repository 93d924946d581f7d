"""
A catalogue in PostgreSQL, for any number of servers: :class:`.catalogue.PostgresCatalogue`.

``schema`` has the tables, and ``functions`` those of the database by which they are changed: each
change is one statement, and so one transaction and one round trip. ``sessions`` connects, and says
what an error means; ``pool`` lends connections to threads. ``questions`` reads, ``lanes`` changes
blobs, and ``changes`` the rest. ``waking`` tells who waits, also in other processes.
"""
