"""
The ``blobman`` command.

A command line is taken through these steps:

- ``entry`` parses it with the commands that ``root`` lists, and reports how it ends;
- a command (``put``, ``get``, ``lists``, ``changes``, ``sync``, ``serving``, ``demo``) gives the
  ``work`` to be done, as a function of a reactor; ``commands`` has what they have in common;
- ``options`` lists the settings, ``settings`` takes their values from the command line, the
  environment and the ``configuration``, opens the keys, and makes the manager;
- ``running`` does the work under the reactor, and ends it on Ctrl-C, even while a host is looked up
  (``lookups``); ``garbage`` keeps Python's collector from taking part in it;
- ``screen`` is told the results, ``failures`` gives each error its line and its exit code;
  ``streams`` stands in for standard streams that were closed.

Help comes at once: what takes long to import (Twisted, the manager, the server, cryptography) is
imported when a command uses it. So a command that does much is only its options, and its work is in
another module: ``putting``, ``synchronizing``, ``listening``, ``demonstration``.

The keys of a user come from a seed (``seeds``), which is kept under a passphrase (``keysfile``).
The passphrase comes from a file, the ``terminal`` or one of the ``keyrings`` (``locks``). ``init``
asks the user for settings (``questions``) and the server whether they will do (``asking``), and
makes these files (``setting_up``); ``passphrase`` changes them.
"""
