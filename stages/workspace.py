"""The paths of all artifacts, and the stage that writes each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import finch_runtime


@dataclass(frozen=True)
class _Artifact:
    """A path relative to the workspace's root, and the stage that writes it."""

    path: str
    stage: str = ""

    def __get__(self, workspace: Workspace, owner: type[Workspace]) -> Path:
        return workspace.root / self.path


# Reports that no attribute of the workspace names.
_REPORTS = {
    "reports/audit": "prepare",
    "reports/hosts": "probe",
    "reports/parity": "export",
    "reports/student": "distill",
    "reports/teacher": "finetune",
    "reports/test_answers": "verify",
    "reports/verify": "verify",
}


@dataclass(frozen=True)
class Workspace:
    """The folder that a pipeline runs in."""

    root: Path

    prepared = _Artifact("data/prepared", "prepare")
    teacher = _Artifact("models/teacher", "finetune")
    teacher_logits = _Artifact("data/teacher_logits", "cache_logits")
    student = _Artifact("models/student", "distill")
    onnx = _Artifact("models/onnx", "export")
    qat = _Artifact("models/qat", "qat")
    candidates = _Artifact("models/candidates", "quantize")
    evaluations = _Artifact("reports/evaluations", "evaluate")
    dist = _Artifact("dist", "bundle")
    params = _Artifact("reports/params.yaml", "resolve")
    inputs = _Artifact("reports/inputs.json", "inputs")
    code = _Artifact("reports/code.json", "code")
    reports = _Artifact("reports")
    # Unfinished and earlier work, and what is remembered of inputs. Not outputs of DVC, which
    # deletes those before a stage runs.
    partial_prepare = _Artifact(".finch/prepare")
    partial_logits = _Artifact(".finch/cache_logits")
    partial_evaluations = _Artifact(".finch/evaluate")
    earlier_evaluations = _Artifact(".finch/evaluations")
    checkpoints = _Artifact(".finch/checkpoints")
    comparison_runs = _Artifact(".finch/compare")
    checked_networks = _Artifact(".finch/networks")
    input_hashes = _Artifact(".finch/inputs.json")
    scouted_students = _Artifact(".finch/scout")
    locks = _Artifact(".finch/locks")
    logs = _Artifact(".finch/logs")

    @property
    def runtime(self) -> Path:
        """The folder that contains the device runtime: in a clone its own, else the installed."""
        own = self.root / "deploy/python"
        return own if (own / "finch_runtime").is_dir() else Path(finch_runtime.__file__).parents[1]

    def write_report(self, name: str, facts: dict[str, Any], markdown: str, page: str) -> None:
        """Writes a report as ``reports/<name>.json``, ``.md`` and ``.html``."""
        from pipeline.files import atomic_file, write_json

        write_json(self.reports / f"{name}.json", facts)
        for suffix, text in (("md", markdown), ("html", page)):
            with atomic_file(self.reports / f"{name}.{suffix}") as temporary:
                temporary.write_text(text, encoding="utf-8")

    def stage_of(self, path: Path) -> str | None:
        """The stage that writes a file; None if no stage does."""
        try:
            relative = path.resolve().relative_to(self.root.resolve()).as_posix()
        except ValueError:
            return None
        artifacts = (a for a in vars(Workspace).values() if isinstance(a, _Artifact) and a.stage)
        stages = {artifact.path: artifact.stage for artifact in artifacts} | _REPORTS
        return next((stage for start, stage in stages.items() if relative.startswith(start)), None)
