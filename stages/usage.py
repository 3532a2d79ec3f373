"""Click commands whose messages about wrong arguments show no control characters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
from finch_runtime.errors import printable

from stages.encoding import ensure_utf8


@contextmanager
def _printable_errors() -> Iterator[None]:
    """An argument can be the name of any file, as in ``finch params *``."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:  # its message is the help page
        raise
    except click.UsageError as error:
        lines = (printable(line) for line in error.format_message().split("\n"))
        raise click.UsageError("\n".join(lines), error.ctx) from None


class Command(click.Command):
    """A command that reports wrong arguments in printable characters."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        """As in Click; the arguments of the command line are those of a process in UTF-8 mode."""
        if args is None:
            ensure_utf8()
        return super().main(args, *rest, **options)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As in Click."""
        with _printable_errors():
            return super().parse_args(ctx, args)


class Group(click.Group):
    """A group of commands that reports wrong arguments in printable characters."""

    command_class = Command

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        """As ``Command.main``."""
        if args is None:
            ensure_utf8()
        return super().main(args, *rest, **options)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As in Click."""
        with _printable_errors():
            return super().parse_args(ctx, args)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[Any, Any, list[str]]:
        """As in Click."""
        with _printable_errors():
            return super().resolve_command(ctx, args)
