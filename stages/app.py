"""The ``finch`` command: every stage under one name."""

from __future__ import annotations

import importlib

import click

STAGES = (
    "prepare",
    "finetune",
    "cache_logits",
    "distill",
    "export",
    "quantize",
    "probe",
    "evaluate",
    "bundle",
    "verify",
    "report",
)


class _Stages(click.Group):
    """Imports a stage only when it is called, so that ``finch --help`` answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name.replace("_", "-") for name in STAGES]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = cmd_name.replace("-", "_")
        if name not in STAGES:
            return None
        command: click.Command = getattr(importlib.import_module(f"stages.{name}"), name)
        return command


@click.command(cls=_Stages)
@click.version_option(package_name="finch-edge", prog_name="finch")
def main() -> None:
    """Fine-grained compression for edge devices, step by step; `dvc repro` runs all of it."""
