"""
Lets a shell complete the names of files and folders.

``click.Path`` would do that, too, and would look at the files before they are used.
"""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem


def complete_file(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Be the ``shell_complete`` of a parameter that names files."""
    return [CompletionItem(incomplete, type="file")]


def complete_folder(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Be the ``shell_complete`` of a parameter that names a folder."""
    return [CompletionItem(incomplete, type="dir")]
