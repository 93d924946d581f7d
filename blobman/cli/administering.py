"""``blobman quota`` and ``blobman server``: what an administrator does to a data folder."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from .catalogues import catalogue_options, data_option
from .options import json_option
from .screen import Screen
from .sizes import size_value
from .text import size_text, table_lines

if TYPE_CHECKING:
    from blobman.server.running.administration import Odd, Report

blobs_folder_option = data_option("The folder of the blobs.", required=True)


@click.group("quota")
def quota() -> None:
    """
    Set, or show, how much each user may keep on the server.

    A running server uses what is set at once.
    """


@quota.command("set")
@click.argument("size", callback=size_value)
@click.argument("user", required=False)
@click.option("--default", "everyone", is_flag=True, help="Of users that have none of their own.")
@catalogue_options
def set_quota(size: float | None, user: str | None, everyone: bool, catalogue: str) -> None:
    """
    Set the quota of USER to SIZE.

    SIZE is in bytes of sealed blobs, such as 500MB, 2GiB, or none for no limit.
    """
    from blobman.server.running import administration as admin

    if everyone == (user is not None):
        raise click.UsageError("give a user, or --default")
    admin.set_quota(catalogue, user, None if size is None else int(size))


@quota.command("unset")
@click.argument("user")
@catalogue_options
def unset_quota(user: str, catalogue: str) -> None:
    """Give USER the default quota again."""
    from blobman.server.running import administration as admin

    admin.unset_quota(catalogue, user)


@quota.command("show")
@catalogue_options
@json_option()
def show_quotas(catalogue: str, as_json: bool) -> None:
    """
    List the quotas.

    The default one comes first, then those of users that have their own.
    """
    from blobman.server.running import administration as admin

    quotas = admin.read_quotas(catalogue)
    sizes: list[tuple[str | None, int | None]] = [(None, quotas.default)]
    sizes += sorted(quotas.users.items())
    if as_json:
        for user, size in sizes:
            Screen(as_json=True).result("", user=user, quota=size)
        return
    rows = [(user or "(default)", _limit_text(size)) for user, size in sizes]
    for line in table_lines([("user", "quota"), *rows]):
        Screen().result(line)


@click.group("server")
def server() -> None:
    """Look after what a server keeps."""


@server.command("usage")
@catalogue_options
@json_option()
def usage(catalogue: str, as_json: bool) -> None:
    """List how much each user keeps, and may keep."""
    from blobman.server.running import administration as admin

    users = admin.read_usage(catalogue)
    if as_json:
        for it in users:
            Screen(as_json=True).result(
                "", user=it.user, blobs=it.blobs, size=it.size, quota=it.quota
            )
        return
    rows = [(it.user, str(it.blobs), size_text(it.size), _limit_text(it.quota)) for it in users]
    for line in table_lines([("user", "blobs", "size", "quota"), *rows]):
        Screen().result(line)


@server.command("adopt")
@blobs_folder_option
@click.option("--dry-run", is_flag=True, help="Only show what would be taken over.")
@json_option()
def adopt(data: str, dry_run: bool, as_json: bool) -> None:
    """
    Take over a folder of Soledad's server, or of an older blobman.

    The first start of a server does the same. The blobs stay in their files; what is odd is left
    where it is, and listed. The other server has to be stopped, but not for a dry run, which
    changes nothing.
    """
    from blobman.server.running import administration as admin

    screen = Screen(as_json)
    work = admin.survey if dry_run else admin.adopt
    report = work(data, _Watcher(screen))
    if report is None:
        screen.remark("Nothing to do: the folder has a catalogue already.")
    elif as_json:
        screen.result("", dry_run=dry_run, **asdict(report))
    else:
        screen.result(f"{report.blobs} blobs, {size_text(report.size)}")
        for line in table_lines(
            [
                ("from the journal", str(report.from_journal)),
                ("with flags", str(report.flagged)),
                ("tombstones", str(report.deleted)),
                ("quotas", str(report.quotas)),
                ("odd", str(report.odd)),
            ]
        ):
            screen.result(line)


class _Watcher:
    """Shows what goes on while a folder is taken over."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def progress(self, report: Report) -> None:
        self._screen.remark(f"{report.blobs} blobs and {report.deleted} tombstones so far")

    def ended(self, report: Report) -> None:
        pass

    def odd(self, odd: Odd) -> None:
        self._screen.result(f"{odd.path}: {odd.why}", odd=odd.path, why=odd.why)


@server.command("restored")
@catalogue_options
def restored(catalogue: str) -> None:
    """
    Say that an older copy was put in place by hand. No server may be running.

    A server does not start with a folder that lacks changes which were acknowledged, unless it is
    told so that this is meant. Clients then compare everything with it, once, and what has been
    deleted is forgotten, so that nothing newer is deleted. server restore does this by itself.
    """
    from blobman.server.running import administration as admin

    number = admin.restored(catalogue)
    Screen().result(f"It has {number} changes.")


def _limit_text(size: int | None) -> str:
    return "none" if size is None else size_text(size)
