"""
How fast blobman is, next to the least that its work takes: ``python -m benchmarks``.

- ``workloads``: how many blobs of which size; ``data``: the files they are made of
- ``calls``: processes that are told what to do, and the loop in them; ``meter``: what it cost them
- ``memory``: what has to be there before anything is measured
- ``server`` and ``client``: blobman's two ends; ``bare``: the two of a bare Twisted
- ``bench``: every step of a workload, one after another; ``floor``: the least that each takes
- ``rclone``: a peer that does similar work; ``trash``: where what was measured goes
- ``changes``: what it costs to follow a server's changes, with ``follower``, a manager that does;
  ``waiting``: what very many who wait cost, with ``crowd``, those who do; ``targets``: what is to
  be reached
- ``figures``: what was measured; ``table``, ``plot``: how it is shown

Programs of their own: ``comparison`` and ``listing`` for long lists, ``many`` for a server with
very many blobs, ``small`` for what small ones cost a server, ``contention``, ``slow_clients``.

A step is one of :data:`figures.STEPS`: ``put`` stores all blobs and uploads them, ``sync``
brings them into the empty store of a second manager, ``get`` reads them from there.
"""
