"""Command ``completion``: names of commands and options on Tab."""

from __future__ import annotations

import click

from stages.command import tool


@tool(
    reads="nothing",
    writes="nothing; prints to standard output",
    options=[click.Argument(["shell"], type=click.Choice(["bash", "zsh", "fish"]))],
)
def completion(shell: str) -> None:
    """Print the script that completes commands on Tab.

    bash: add `eval "$(finch completion bash)"` to ~/.bashrc. zsh: add `eval "$(finch completion
    zsh)"` to ~/.zshrc. fish: `finch completion fish > ~/.config/fish/completions/finch.fish`.
    """
    from click.shell_completion import get_completion_class

    from stages.app import main

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(main, {}, "finch", "_FINCH_COMPLETE").source())


if __name__ == "__main__":
    completion()
