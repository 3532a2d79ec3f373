"""Click commands that explain wrong arguments, in printable characters."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import click
from finch_runtime.errors import printable

from stages.encoding import ensure_utf8
from stages.standard_output import checked_output


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
    """A command that explains unknown options."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        """As in Click; the arguments of the command line are those of a process in UTF-8 mode."""
        if args is not None:
            return super().main(args, *rest, **options)
        ensure_utf8()
        with checked_output():
            return super().main(args, *rest, **options)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As in Click."""
        with _printable_errors():
            try:
                return super().parse_args(ctx, args)
            except click.NoSuchOption as error:
                if error.possibilities or not any("--set" in each.opts for each in self.params):
                    raise
                hint = "Parameters are set with --set KEY=VALUE; `finch params` lists them."
                raise click.UsageError(f"{error.format_message()} {hint}", ctx) from None


class Group(click.Group):
    """A group of commands that proposes commands in place of an unknown one.

    Attributes:
        synonyms: Commands to propose for words that are spelled differently.
    """

    command_class = Command
    synonyms: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        """As ``Command.main``."""
        if args is not None:
            return super().main(args, *rest, **options)
        ensure_utf8()
        with checked_output():
            return super().main(args, *rest, **options)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As in Click."""
        with _printable_errors():
            return super().parse_args(ctx, args)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[Any, Any, list[str]]:
        """As in Click."""
        with _printable_errors():
            name = args[0]
            if self.get_command(ctx, name) is None and not name.startswith("-"):
                raise click.UsageError(self._unknown(ctx, name), ctx)
            return super().resolve_command(ctx, args)

    def _unknown(self, ctx: click.Context, name: str) -> str:
        known = self.list_commands(ctx)
        starts = [each for each in known if len(name) > 1 and each.startswith(name)]
        near = (
            self.synonyms.get(name) or starts or difflib.get_close_matches(name, known, cutoff=0.5)
        )
        proposal = f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(known)}."
        return f"No such command {name!r}. {proposal}"
