"""Data sets, methods and published experiments as sections of ``params.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.errors import FinchError
from stages.console import echo
from stages.usage import Group


class _Group(Group):
    """Shows errors as the stages do: in one line, with the command's name."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except FinchError as error:
            echo(f"finch presets: {error}", err=True)
            ctx.exit(1)


@click.group(
    cls=_Group,
    help="List, show and apply presets of data sets, methods and networks.\n\n"
    "\b\nReads:  params.yaml (apply)\nWrites: params.yaml (apply)",
)
def presets() -> None:
    """List, show and apply presets."""


@presets.command("list")
def list_presets() -> None:
    """List all presets, with the parameter counts of their networks."""
    from functools import cache

    from rich.console import Console
    from rich.table import Column, Table

    from pipeline.models.zoo import count_parameters
    from pipeline.presets import data_names, load_preset, method_names, pair_names

    @cache
    def millions(model: str) -> str:
        return f"{count_parameters(model, num_classes=100, image_size=32) / 1e6:.2f} M"

    headings = ("preset", "teacher", "parameters", "student", "parameters", "epochs", "lr")
    table = Table(*(Column(heading, no_wrap=True) for heading in headings))
    for name in pair_names():
        preset = load_preset(name)
        teacher, student = preset["finetune"]["model"], preset["distill"]["model"]
        recipe = (str(preset["distill"][key]) for key in ("epochs", "lr"))
        table.add_row(name, teacher, millions(teacher), student, millions(student), *recipe)
    # Without a terminal rich assumes 80 columns, which would truncate the names.
    Console(width=max(Console().width, 120)).print(table)
    for kind, names in (("data set", data_names()), ("method", method_names())):
        for name in names:
            echo(f"{name}: {kind}; `finch presets show {name}`")


@presets.command()
@click.argument("name")
def show(name: str) -> None:
    """Print the preset NAME as YAML. `finch presets list` prints all names."""
    import yaml

    from pipeline.presets import load_preset

    echo(yaml.safe_dump(load_preset(name), sort_keys=False).rstrip())


@presets.command()
@click.argument("name")
@click.option(
    "--params",
    "path",
    type=click.Path(path_type=Path),
    default="params.yaml",
    show_default=True,
    help="Parameter file.",
)
def apply(name: str, path: Path) -> None:
    """Write the preset NAME into a parameter file.

    Prints the changed values.
    """
    from pipeline.presets import apply_preset

    changes = apply_preset(name, path)
    for key, before, after in changes:
        echo(f"{key}: {before} -> {after}")
    echo(f"{path}: {len(changes)} value{'' if len(changes) == 1 else 's'} changed")


if __name__ == "__main__":
    presets()
