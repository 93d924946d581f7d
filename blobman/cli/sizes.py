"""Numbers of bytes, as people type them."""

from __future__ import annotations

import re

import click

_FACTORS: dict[str, int] = {
    unit: factor
    for power, letter in enumerate("kmgtp", 1)
    for unit, factor in ((letter, 1000**power), (f"{letter}i", 1024**power))
}


def read_size(text: str) -> float | None:
    """
    Read a number of bytes: ``1500``, ``500kB``, ``2.5M``, ``1GiB``; None for ``none``.

    :raise ValueError: it is none of these.
    """
    if text.lower() == "none":
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgtp]i?)?b?", text.strip(), re.ASCII | re.I)
    if match is None:
        raise ValueError(f"{text!r} is no number of bytes, such as 500kB, 2GiB or none")
    number, unit = match.groups()
    factor: int = _FACTORS.get((unit or "").lower(), 1)
    return float(number) * factor


def read_rate(text: str) -> float | None:
    """
    Read ``--limit-rate``: as ``read_size``, but not 0.

    :raise click.UsageError: it is none.
    """
    try:
        rate = read_size(text)
    except ValueError as error:
        raise click.UsageError(f"--limit-rate: {error}") from error
    if rate == 0:
        raise click.UsageError("--limit-rate: must be above 0; none means no limit")
    return rate


def size_value(context: click.Context, parameter: click.Parameter, text: str) -> float | None:
    """
    Be the callback of a parameter that is a number of bytes, or None for no limit.

    :raise click.BadParameter: it is none.
    """
    try:
        return read_size(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
