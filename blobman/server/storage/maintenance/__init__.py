"""
What is done to a data folder from outside of the server. All of it blocks.

- ``backup``: a copy of a folder whose server may be running; ``restore`` puts one in place;
- ``check``: what is damaged, and where; ``repair`` moves it aside;
- ``history``: has clients compare all they have with a folder that is not as it last was.
"""
