"""Log lines and progress bars on the terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator

import click
from finch_runtime.errors import printable

from pipeline.progress import Item
from pipeline.training.process_rank import read_process_rank
from stages.progress_lines import track_in_lines

# `open_log` disables it for `--quiet`.
_PROGRESS = logging.getLogger("finch.progress")


class PrintableFormatter(logging.Formatter):
    """Shows characters that a terminal would execute or hide as escapes.

    Tracebacks and the output of libraries keep their lines; all other messages are one line.
    """

    def format(self, record: logging.LogRecord) -> str:
        """As in ``logging.Formatter``."""
        text = super().format(record)
        if record.levelno == logging.DEBUG or record.exc_info:
            return "\n".join(map(printable, text.split("\n")))
        return printable(text)


def echo(text: str, *, err: bool = False) -> None:
    """Prints lines of text; characters that a terminal would execute or hide become escapes."""
    click.echo("\n".join(printable(line) for line in text.split("\n")), err=err)


def print_markdown(text: str) -> None:
    """Prints Markdown as ``echo`` prints text."""
    from rich.console import Console
    from rich.markdown import Markdown

    lines = (printable(line) for line in text.split("\n"))
    Console().print(Markdown("\n".join(lines)))


def open_log(
    stage: str, *, level: int = logging.INFO, file: logging.Handler | None = None
) -> logging.Logger:
    """Logger of a stage; its lines go to stderr and start with the stage's name.

    Args:
        stage: Name of the stage.
        level: Lowest level of the lines on stderr. Progress is shown up to ``INFO``; in
            distributed training, by the main process.
        file: Handler that gets the lines of all levels.
    """
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(PrintableFormatter(f"[{stage}] %(message)s"))
    terminal.setLevel(level)
    handlers: list[logging.Handler] = [terminal, file] if file else [terminal]
    for name in ("finch", "pipeline"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.DEBUG)
        for earlier in logger.handlers:
            earlier.close()
        logger.handlers = handlers
        logger.propagate = False  # a library can give the root logger a handler of its own
    _PROGRESS.disabled = level > logging.INFO or not read_process_rank().is_main
    return logging.getLogger(f"finch.{stage}")


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Yields the items and shows the remaining time: as a bar on a terminal, else in lines."""
    from rich import progress
    from rich.console import Console

    console = Console(stderr=True)
    if _PROGRESS.disabled:
        yield from items
        return
    if not console.is_terminal:
        yield from track_in_lines(items, description, total, _PROGRESS)
        return
    with progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as bar:
        yield from bar.track(items, description=description, total=total)
