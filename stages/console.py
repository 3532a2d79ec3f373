"""Log lines and progress bars on the terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator

import click
from finch_runtime.errors import printable

from pipeline.progress import Item


class _Printable(logging.Formatter):
    """Shows characters that a terminal would execute or hide as escapes."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def echo(text: str, *, err: bool = False) -> None:
    """Prints lines of text; characters that a terminal would execute or hide become escapes."""
    click.echo("\n".join(printable(line) for line in text.split("\n")), err=err)


def print_markdown(text: str) -> None:
    """Prints Markdown as ``echo`` prints text."""
    from rich.console import Console
    from rich.markdown import Markdown

    lines = (printable(line) for line in text.split("\n"))
    Console().print(Markdown("\n".join(lines)))


def open_log(stage: str) -> logging.Logger:
    """Logger of a stage; its lines go to stderr and start with the stage's name."""
    log = logging.getLogger(f"finch.{stage}")
    log.setLevel(logging.INFO)
    log.propagate = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Printable(f"[{stage}] %(message)s"))
    log.handlers = [handler]
    return log


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Yields the items and shows a progress bar with the remaining time, on a terminal only."""
    from rich import progress
    from rich.console import Console

    console = Console(stderr=True)
    with progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        yield from bar.track(items, description=description, total=total)
