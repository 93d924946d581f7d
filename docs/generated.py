"""
Directives that print what the program knows: tables, command lines, interfaces.

They give reStructuredText, so they are used inside ``eval-rst``.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from textwrap import indent

import click
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from blobman.cli.failures import EXIT_CODES
from blobman.cli.root import root
from blobman.interfaces import content, observers, remote, store
from blobman.model import STATUS_CHANGES, SyncStatus
from blobman.reconciliation import RECONCILIATION


class _Generated(SphinxDirective):
    """Parses the lines that a subclass gives."""

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes("\n".join(self.lines()), allow_section_headings=True)

    def lines(self) -> Iterator[str]:
        raise NotImplementedError


def _table(*rows: tuple[str, ...]) -> Iterator[str]:
    yield ".. list-table::\n   :header-rows: 1\n"
    for row in rows:
        for number, cell in enumerate(row):
            yield f"   {'*' if number == 0 else ' '} - {cell}"
    yield ""


def _status(status: SyncStatus | None) -> str:
    return "\\-" if status is None else f"``{status.name}``"


class StatusChanges(_Generated):
    """The table of ``model.STATUS_CHANGES``."""

    def lines(self) -> Iterator[str]:
        """Give a row for each change."""
        rows = [(_status(it.before), it.operation, _status(it.after)) for it in STATUS_CHANGES]
        yield from _table(("before", "what happens", "after"), *rows)


class Reconciliations(_Generated):
    """The table of ``reconciliation.RECONCILIATION``."""

    def lines(self) -> Iterator[str]:
        """Give a row for each status and each thing that the server can tell."""
        rows = [(_status(it.before), it.told.value, it.action.value) for it in RECONCILIATION]
        yield from _table(("here", "on the server", "what follows"), *rows)


class ExitCodes(_Generated):
    """The table of ``cli.failures.EXIT_CODES``."""

    def lines(self) -> Iterator[str]:
        """Give a row for each code."""
        rows = [(str(it.code), it.meaning) for it in EXIT_CODES]
        yield from _table(
            ("code", "meaning"),
            ("0", "all went well"),
            *sorted(rows, key=lambda row: int(row[0])),
            ("128 + n", "signal n ended it: 130 for Ctrl-C"),
        )


class CommandHelp(_Generated):
    """What each command says with ``--help``."""

    def lines(self) -> Iterator[str]:
        """Give a section for each command."""
        yield from self._describe(root, self._context(root, None, "blobman"))

    def _describe(self, command: click.Command, context: click.Context) -> Iterator[str]:
        if command is not root:
            yield from (f"\n{context.command_path}", "-" * len(context.command_path), "")
        yield "::\n\n" + indent(command.get_help(context), "    ") + "\n"
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                inner = command.get_command(context, name)
                if inner is not None and not inner.hidden:
                    yield from self._describe(inner, self._context(inner, context, name))

    @staticmethod
    def _context(command: click.Command, parent: click.Context | None, name: str) -> click.Context:
        return click.Context(command, parent, info_name=name, **command.context_settings)


class Interfaces(_Generated):
    """All of ``blobman.interfaces``, with the types, which Zope's objects do not keep."""

    def lines(self) -> Iterator[str]:
        """Give each interface and what is in it."""
        for module in (observers, store, content, remote):
            for node in ast.parse(inspect.getsource(module)).body:
                if isinstance(node, ast.ClassDef):
                    yield f".. py:class:: blobman.interfaces.{node.name}\n"
                    yield indent(ast.get_docstring(node) or "", "   ") + "\n"
                    for member in node.body:
                        yield from self._describe(member)

    def _describe(self, member: ast.stmt) -> Iterator[str]:
        if isinstance(member, ast.FunctionDef):
            returns = f" -> {ast.unparse(member.returns)}" if member.returns else ""
            yield f"   .. py:method:: {member.name}({ast.unparse(member.args)}){returns}\n"
            yield indent(ast.get_docstring(member) or "", "      ") + "\n"
        elif isinstance(member, ast.AnnAssign) and isinstance(member.value, ast.Call):
            yield f"   .. py:attribute:: {ast.unparse(member.target)}"
            yield f"      :type: {ast.unparse(member.annotation)}\n"
            yield f"      {ast.literal_eval(member.value.args[0])}\n"


def name_interfaces(
    app: Sphinx, what: str, name: str, it: object, options: object, signature: str, returns: str
) -> tuple[str, str] | None:
    """Write interfaces in signatures by their names, and not as they show themselves."""
    if signature is None:
        return None
    return re.sub(r"<InterfaceClass [\w.]+\.(\w+)>", r"\1", signature), returns


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directives known."""
    app.connect("autodoc-process-signature", name_interfaces)
    app.add_directive("status-changes", StatusChanges)
    app.add_directive("reconciliation", Reconciliations)
    app.add_directive("exit-codes", ExitCodes)
    app.add_directive("command-help", CommandHelp)
    app.add_directive("interfaces", Interfaces)
    return {"parallel_read_safe": True}
