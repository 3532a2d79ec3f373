"""Command ``doctor``: what this machine lacks for the stages."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.errors import ParameterError
from stages.command import json_option, tool
from stages.console import echo

if TYPE_CHECKING:
    from pipeline.doctor import Check


@tool(
    reads="params.yaml if it exists; this machine and the devices in evaluate.devices",
    writes="nothing; prints to standard output",
    options=[
        click.Option(
            ["--params", "params_path"],
            type=click.Path(path_type=Path),
            default="params.yaml",
            show_default=True,
            help="Parameter file.",
        ),
        json_option("Print a list of {name, state, found, needed_by, remedy}."),
    ],
)
def doctor(params_path: Path, as_json: bool) -> None:
    """Check this machine for what the stages need.

    Looks at packages, GPU, CPU instructions, memory, disk, git, DVC and devices. The parameters
    decide what is needed. The exit code is 1 if something is missing.
    """
    from dataclasses import asdict

    from pipeline.doctor import Check, examine
    from pipeline.params import load_params

    checks = []
    params = None
    if params_path.exists():
        try:
            params = load_params(params_path)
        except ParameterError as error:
            checks.append(Check(str(params_path), "missing", error.problem, (), "correct it"))
    else:
        checks.append(
            Check(str(params_path), "note", "there is none here; all runtimes are checked")
        )
    if not as_json:
        _show(*checks)
    for check in examine(params, Path.cwd()):
        checks.append(check)
        if not as_json:
            _show(check)
    if as_json:
        echo(json.dumps([asdict(check) for check in checks], indent=2, ensure_ascii=False))
    if any(check.state == "missing" for check in checks):
        sys.exit(1)


def _show(*checks: Check) -> None:
    for check in checks:
        needed = f" (for {', '.join(check.needed_by)})" if check.state != "ok" else ""
        needed = needed if check.needed_by else ""
        remedy = f": {check.remedy}" if check.remedy else ""
        echo(f"{check.state:8} {check.name:14} {check.found}{needed}{remedy}")


if __name__ == "__main__":
    doctor()
