"""`finch compare` in small: that it runs, and the time per run."""

from __future__ import annotations

import csv
from collections.abc import Iterator

import yaml

from .finding import Finding, at_least, required
from .settings import Settings
from .small_project import run_stage, taught_project


def find(settings: Settings) -> Iterator[Finding]:
    """Two methods, tuned and trained."""
    folder = taught_project(settings, "compare")
    seeds, trials = (1, 1) if settings.tiny else (3, 2)
    entries = [
        {"name": "kd", "set": {"method": "kd"}, "tune": {"kd.weight": [0.3, 1.0][:trials]}},
        {"name": "figkd", "tune": {"figkd.detail_weight": [0.05, 0.15][:trials]}},
    ]
    compare = {"seeds": seeds, "trials": trials, "folds": 2, "against": ["kd"], "entries": entries}
    (folder / "compare.yaml").write_text(yaml.safe_dump(compare), encoding="utf-8")
    run_stage("compare", folder)
    with (folder / "reports/compare_runs.csv").open(encoding="utf-8", newline="") as file:
        runs = list(csv.DictReader(file))
    yield required("final runs", str(len(runs)), len(runs) == 2 * seeds, str(2 * seeds))
    yield at_least("a run", [float(run["seconds"]) for run in runs], "s", None)
