"""The run in the last commit: its metrics, and the parameters in its ``dvc.lock``."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pipeline.errors import ArtifactError
from pipeline.files import parse_artifact
from pipeline.params import Params, params_model
from pipeline.params.editing import flattened, merged
from pipeline.report.artifacts import LastRun

_PARAMS = "reports/params.yaml"


def read_last_run(folder: Path) -> LastRun | None:
    """Reads the run that is committed in git.

    Args:
        folder: The folder of the project, which may lie inside a repository.

    Returns:
        The run. None if git is not installed, the folder is in no repository, or the last commit
        has no metrics. It has no parameters if this version cannot read them.
    """
    commit = _git(folder, "rev-parse", "--short", "HEAD")
    metrics = _git(folder, "show", "HEAD:./reports/metrics.json")
    if commit is None or metrics is None:
        return None
    try:
        lock = yaml.safe_load(_git(folder, "show", "HEAD:./dvc.lock") or "{}")
        params = _public(_locked(lock))
        run = {"commit": commit.strip(), "metrics": json.loads(metrics), "params": params}
        return parse_artifact(folder / "reports/metrics.json", LastRun, run)
    except (ArtifactError, ValueError, TypeError, AttributeError, yaml.YAMLError):
        return None  # written by hand, or by another version


def _locked(lock: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of all stages in ``dvc.lock``, nested as in ``params.yaml``."""
    values: dict[str, Any] = {}
    for stage in lock.get("stages", {}).values():
        for dotted, value in stage.get("params", {}).get(_PARAMS, {}).items():
            nested = value
            for name in reversed(dotted.split(".")):
                nested = {name: nested}
            values = merged(values, nested)
    return values


def _public(locked: Mapping[str, Any]) -> dict[str, Any]:
    """The values by dotted name, without paths and hosts."""
    try:
        params: Params = params_model().model_validate({**locked, "recipe": "none"})
    except ValidationError:
        return {}
    known = dict(flattened(locked))
    return {name: value for name, value in flattened(params.public()) if name in known}


def _git(folder: Path, *words: str) -> str | None:
    """What git prints; None if it fails."""
    try:
        done = subprocess.run(
            ("git", "-C", str(folder), *words), capture_output=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None
