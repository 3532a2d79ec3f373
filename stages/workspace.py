"""The paths of all artefacts, and the stage that writes each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.files import whole_file, write_json


@dataclass(frozen=True)
class _Artefact:
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
    "reports/verify": "verify",
}


@dataclass(frozen=True)
class Workspace:
    """The folder that a pipeline runs in."""

    root: Path

    prepared = _Artefact("data/prepared", "prepare")
    teacher = _Artefact("models/teacher", "finetune")
    teacher_logits = _Artefact("data/teacher_logits", "cache_logits")
    student = _Artefact("models/student", "distill")
    onnx = _Artefact("models/onnx", "export")
    qat = _Artefact("models/qat", "qat")
    candidates = _Artefact("models/candidates", "quantize")
    evaluations = _Artefact("reports/evaluations", "evaluate")
    dist = _Artefact("dist", "bundle")
    params = _Artefact("reports/params.yaml", "resolve")
    reports = _Artefact("reports")
    runtime = _Artefact("deploy/python")
    # Unfinished work. Not outputs of DVC, which deletes those before a stage runs.
    partial_prepare = _Artefact(".finch/prepare")
    partial_logits = _Artefact(".finch/cache_logits")
    partial_evaluations = _Artefact(".finch/evaluate")
    checkpoints = _Artefact(".finch/checkpoints")
    comparison_runs = _Artefact(".finch/compare")
    scouted_students = _Artefact(".finch/scout")
    locks = _Artefact(".finch/locks")

    def write_report(self, name: str, facts: dict[str, Any], markdown: str, page: str) -> None:
        """Writes a report as ``reports/<name>.json``, ``.md`` and ``.html``."""
        write_json(self.reports / f"{name}.json", facts)
        for suffix, text in (("md", markdown), ("html", page)):
            with whole_file(self.reports / f"{name}.{suffix}") as temporary:
                temporary.write_text(text, encoding="utf-8")

    def stage_of(self, path: Path) -> str | None:
        """The stage that writes a file; None if no stage does."""
        try:
            relative = path.resolve().relative_to(self.root.resolve()).as_posix()
        except ValueError:
            return None
        artefacts = (a for a in vars(Workspace).values() if isinstance(a, _Artefact) and a.stage)
        stages = {artefact.path: artefact.stage for artefact in artefacts} | _REPORTS
        return next((stage for start, stage in stages.items() if relative.startswith(start)), None)
