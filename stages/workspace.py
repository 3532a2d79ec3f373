"""Where every artefact lies, and which stage makes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# Every path below is made by one stage; an error about a file names the stage to run.
_MAKERS = {
    "data/prepared": "prepare",
    "reports/audit": "prepare",
    "models/teacher": "finetune",
    "reports/teacher": "finetune",
    "data/teacher_logits": "cache_logits",
    "models/student": "distill",
    "reports/student": "distill",
    "models/onnx": "export",
    "reports/parity": "export",
    "models/qat": "qat",
    "models/candidates": "quantize",
    "reports/hosts": "probe",
    "reports/evaluations": "evaluate",
    "dist": "bundle",
    "reports/verify": "verify",
}


@dataclass(frozen=True)
class Workspace:
    """The folder a pipeline runs in."""

    root: Path

    @property
    def prepared(self) -> Path:
        """Packed photographs."""
        return self.root / "data/prepared"

    @property
    def teacher(self) -> Path:
        """The fine-tuned teacher."""
        return self.root / "models/teacher"

    @property
    def teacher_logits(self) -> Path:
        """The logit cache."""
        return self.root / "data/teacher_logits"

    @property
    def student(self) -> Path:
        """The distilled student."""
        return self.root / "models/student"

    @property
    def onnx(self) -> Path:
        """Exported teacher and student."""
        return self.root / "models/onnx"

    @property
    def qat(self) -> Path:
        """The student recovered with int8 in its forward pass, and ``qat.json``."""
        return self.root / "models/qat"

    @property
    def candidates(self) -> Path:
        """The candidates and ``candidates.json``."""
        return self.root / "models/candidates"

    @property
    def reports(self) -> Path:
        """Figures and the page."""
        return self.root / "reports"

    @property
    def evaluations(self) -> Path:
        """Measurements, a file a device."""
        return self.root / "reports/evaluations"

    @property
    def dist(self) -> Path:
        """The archive and its manifest."""
        return self.root / "dist"

    @property
    def runtime(self) -> Path:
        """The folder that holds the device runtime's package."""
        return self.root / "deploy/python"

    @property
    def compared(self) -> Path:
        """Finished runs of the comparison; outside of DVC's outputs too, since they take hours."""
        return self.root / ".finch/compare"

    @property
    def scouted(self) -> Path:
        """Students measured before any training; outside of DVC's outputs too."""
        return self.root / ".finch/scout"

    @property
    def decoding(self) -> Path:
        """What ``prepare`` has decoded so far; outside of DVC's outputs too."""
        return self.root / ".finch/prepare"

    @property
    def answering(self) -> Path:
        """What the teacher has answered so far; outside of DVC's outputs too."""
        return self.root / ".finch/cache_logits"

    @property
    def evaluating(self) -> Path:
        """Devices that are done while others are not; outside of DVC's outputs too."""
        return self.root / ".finch/evaluate"

    @property
    def checkpoints(self) -> Path:
        """Trainings that are not finished, a folder a stage; outside of DVC's outputs too."""
        return self.root / ".finch/checkpoints"

    @property
    def locks(self) -> Path:
        """Outside of DVC's outputs, which are deleted before a stage runs."""
        return self.root / ".finch/locks"

    def maker(self, path: Path) -> str | None:
        """The stage that makes a file, or None when no stage does."""
        try:
            relative = path.resolve().relative_to(self.root.resolve()).as_posix()
        except ValueError:
            return None
        return next((stage for start, stage in _MAKERS.items() if relative.startswith(start)), None)
