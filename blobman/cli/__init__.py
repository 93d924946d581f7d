"""
The ``blobman`` command.

A command line is taken through these steps:

- ``entry`` parses it with the commands that ``root`` lists, and reports how it ends;
- a command (``put``, ``get``, ``lists``, ``changes``, ``serving``, ``files``, ``demo``) gives the
  work to be done, as a function of a reactor; ``commands`` has what they have in common;
- ``settings`` knows where the server, the store and their keys are, and makes the manager;
- ``running`` does the work under the reactor, and ends it on Ctrl-C;
- ``screen`` is told the results, ``failures`` gives each error its line and its exit code.
"""
