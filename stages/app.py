"""The ``finch`` command: all stages and tools."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import ClassVar

import click

from stages.usage import Group

COMMANDS = {
    "Stages of the pipeline, in order (`dvc repro` runs all of them)": (
        "resolve",
        "inputs",
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
    ),
    "A project of your own": ("init", "code"),
    "Parameters": ("params", "presets"),
    "Choosing a student and a method": ("scout", "compare"),
    "Using a bundle": ("predict",),
    "Inspecting data and measurements": ("inspect", "replay", "evaluate_file"),
    "This machine and this folder": ("status", "doctor", "completion"),
}
STAGES, *_TOOLS = COMMANDS.values()
TOOLS = tuple(name for group in _TOOLS for name in group)

_EPILOG = """\
\b
Exit codes: 0 success; 1 error, in one line on standard error;
2 wrong arguments; 130 after Ctrl-C; 143 after SIGTERM.
"""


class _Commands(Group):
    """Imports a command's module only when it is called."""

    synonyms: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "benchmark": ("evaluate", "scout"),
        "classify": ("predict",),
        "create": ("init",),
        "data": ("prepare", "inspect"),
        "deploy": ("bundle",),
        "fit": ("finetune", "distill"),
        "infer": ("predict",),
        "new": ("init",),
        "package": ("bundle",),
        "test": ("verify",),
        "train": ("finetune", "distill"),
        "val": ("evaluate",),
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name.replace("_", "-") for name in (*STAGES, *TOOLS)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in COMMANDS.items():
            with formatter.section(title):
                commands = [(n.replace("_", "-"), self.get_command(ctx, n)) for n in names]
                formatter.write_dl([(n, c.get_short_help_str(80)) for n, c in commands if c])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = cmd_name.replace("-", "_")
        if name not in (*STAGES, *TOOLS):
            return None
        return getattr(importlib.import_module(f"stages.{name}"), name)  # type: ignore[no-any-return]


@click.command(cls=_Commands, epilog=_EPILOG)
@click.version_option(package_name="finch-edge", prog_name="finch")
def main() -> None:
    """Distill, quantize, measure and package image classifiers for edge devices."""
