"""Command ``code``: fingerprints of the installed code, which the stages of a project depend on."""

from __future__ import annotations

from pathlib import Path

from stages.command import tool


@tool(reads="the code of the installed Finch", writes="reports/code.json")
def code() -> None:
    """Record a hash of the code of every stage.

    In a project of `finch init`, `dvc repro` runs a stage again after an update of Finch that
    changes its code. The hash covers the modules that the stage uses, and their templates.
    """
    from pipeline.code_fingerprint import stage_fingerprint
    from pipeline.files import write_json
    from stages.app import STAGES
    from stages.workspace import Workspace

    fingerprints = {name: stage_fingerprint(f"stages.{name}") for name in STAGES}
    write_json(Workspace(Path.cwd()).code, fingerprints)


if __name__ == "__main__":
    code()
