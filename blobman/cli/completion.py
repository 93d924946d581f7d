"""``blobman completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """
    Print a script that lets a shell complete commands.

    \b
      bash:  blobman completion bash >> ~/.bashrc
      zsh:   blobman completion zsh >> ~/.zshrc
      fish:  blobman completion fish > ~/.config/fish/completions/blobman.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(context.find_root().command, {}, "blobman", "_BLOBMAN_COMPLETE")
    # Its source() would look for a bash to ask for its version.
    click.echo(script.source_template % script.source_vars())
