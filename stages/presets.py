"""Known experiments, as parts of ``params.yaml``."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import click
from rich.console import Console
from rich.table import Table

from pipeline.errors import FinchError

P = ParamSpec("P")


class _Refusal(click.ClickException):
    """An error as the stages show theirs: one line, with the command's name."""

    def show(self, file: Any = None) -> None:
        click.echo(f"finch presets: {self.message}", file=file, err=True)


def _in_one_line(function: Callable[P, None]) -> Callable[P, None]:
    @wraps(function)
    def run(*arguments: P.args, **options: P.kwargs) -> None:
        try:
            function(*arguments, **options)
        except FinchError as error:
            raise _Refusal(str(error)) from None

    return run


@click.group()
def presets() -> None:
    r"""List, show and apply presets: the pairs of the distillation literature, and methods.

    \b
    Reads:  the presets that come with Finch
    Writes: params.yaml, for `apply`
    """


@presets.command("list")
@_in_one_line
def list_presets() -> None:
    """Name the presets: pairs with their networks' parameters, and methods."""
    from functools import cache

    from pipeline.models.zoo import count_parameters
    from pipeline.presets import load_preset, method_names, pair_names

    @cache
    def millions(model: str) -> str:
        return f"{count_parameters(model, num_classes=100, image_size=32) / 1e6:.2f} M"

    table = Table()
    for heading in ("preset", "teacher", "parameters", "student", "parameters", "epochs", "lr"):
        table.add_column(heading, no_wrap=True)
    for name in pair_names():
        preset = load_preset(name)
        teacher, student = preset["finetune"]["model"], preset["distill"]["model"]
        recipe = (str(preset["distill"][key]) for key in ("epochs", "lr"))
        table.add_row(name, teacher, millions(teacher), student, millions(student), *recipe)
    # Where there is no terminal, rich takes it for one of 80 columns and would cut the names.
    Console(width=max(Console().width, 120)).print(table)
    for name in method_names():
        click.echo(f"{name}: the method alone; `finch presets show {name}`")


@presets.command()
@click.argument("name")
@_in_one_line
def show(name: str) -> None:
    """Print a preset as YAML."""
    import yaml

    from pipeline.presets import load_preset

    click.echo(yaml.safe_dump(load_preset(name), sort_keys=False), nl=False)


@presets.command()
@click.argument("name")
@click.option(
    "--params",
    "path",
    type=click.Path(path_type=Path),
    default=Path("params.yaml"),
    show_default=True,
    help="Parameter file.",
)
@_in_one_line
def apply(name: str, path: Path) -> None:
    """Write a preset into params.yaml, and say what it changed there."""
    from pipeline.presets import apply_preset

    changes = apply_preset(name, path)
    for change in changes:
        click.echo(f"{change.key}: {change.before} -> {change.after}")
    click.echo(f"{path}: {len(changes)} values changed")


if __name__ == "__main__":
    presets()
