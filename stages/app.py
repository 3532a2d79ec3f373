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
    "qat",
    "quantize",
    "probe",
    "evaluate",
    "bundle",
    "verify",
    "report",
)


# Not of the chain: they go before it, look at what it made, or learn from it.
ASIDE = ("scout", "inspect", "compare", "replay", "presets")


class _Stages(click.Group):
    """Imports a stage only when it is called, so that ``finch prepare`` does not wait for torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name.replace("_", "-") for name in (*STAGES, *ASIDE)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in (("The chain, in order", STAGES), ("Beside the chain", ASIDE)):
            with formatter.section(title):
                commands = [(n.replace("_", "-"), self.get_command(ctx, n)) for n in names]
                formatter.write_dl([(n, c.get_short_help_str(80)) for n, c in commands if c])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = cmd_name.replace("-", "_")
        if name not in (*STAGES, *ASIDE):
            return None
        command: click.Command = getattr(importlib.import_module(f"stages.{name}"), name)
        return command


@click.command(cls=_Stages)
@click.version_option(package_name="finch-edge", prog_name="finch")
def main() -> None:
    """Fine-grained compression for edge devices, step by step; `dvc repro` runs all of it."""
