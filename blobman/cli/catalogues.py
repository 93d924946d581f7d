"""Where a server's catalogue is: ``--catalogue URL``, or ``--data DIR``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import click
from click.core import ParameterSource

from .paths import complete_folder

catalogue_option = click.option(
    "--catalogue",
    metavar="URL",
    envvar="BLOBMAN_CATALOGUE",
    show_envvar=True,
    help="The catalogue: sqlite:DIR, with the server's data folder, or postgresql://HOST/DATABASE.",
)


def data_option(
    help: str, required: bool = False, exists: bool = True
) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """
    Give a command an argument ``data``: a server's folder.

    :param help: what is in it.
    :param exists: whether it has to be there already.
    """
    return click.option(
        "--data",
        metavar="DIR",
        required=required,
        shell_complete=complete_folder,
        envvar="BLOBMAN_DATA",
        show_envvar=True,
        type=click.Path(exists=True, file_okay=False) if exists else None,
        help=help,
    )


def choose(values: Mapping[str, str | None], preferred: str = "") -> tuple[str, str]:
    """
    Choose between options: what is typed wins over what is in a variable.

    :param values: of each option, by its name.
    :param preferred: the option whose variable wins over those of others.
    :return: the name and the value of the one that is given.
    :raise click.UsageError: not exactly one is.
    """
    context = click.get_current_context()
    given = {name: value for name, value in values.items() if value is not None}
    typed = [it for it in given if context.get_parameter_source(it) is ParameterSource.COMMANDLINE]
    names = typed or [it for it in given if it == preferred] or list(given)
    if len(names) != 1:
        raise click.UsageError("give either " + " or ".join(f"--{name}" for name in values))
    [name] = names
    return name, given[name]


def catalogue_options(command: Callable[..., object]) -> Callable[..., object]:
    """Give a command an argument ``catalogue``: its URL, or the data folder."""

    @wraps(command)
    def with_catalogue(data: str | None, catalogue: str | None, **options: Any) -> object:
        name, value = choose({"data": data, "catalogue": catalogue}, preferred="catalogue")
        # A folder may be called like a URL.
        chosen = os.path.abspath(value) if name == "data" else value
        check_catalogue(chosen)
        return command(catalogue=chosen, **options)

    folder = data_option("The folder of the blobs, if the catalogue is in it.")
    return folder(catalogue_option(with_catalogue))


def check_catalogue(catalogue: str) -> None:
    """
    See that a catalogue can be meant.

    :raise click.UsageError: it can't.
    """
    from blobman.server.running.catalogues import place_of

    try:
        place_of(catalogue)
    except ValueError as error:
        raise click.UsageError(f"--catalogue: {error}") from error
