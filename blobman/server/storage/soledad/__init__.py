"""
Folders of Soledad's server, and of blobman's before it had a catalogue, are taken over.

- ``adoption`` has it done, or looks what that would come to.
- ``tree`` finds the files of users, ``intake`` what is in the journal only; ``taking`` counts it
  and tells of it.
- ``layout``, ``files``, ``journal``, ``quotas`` and ``records`` know how it was kept.
"""
