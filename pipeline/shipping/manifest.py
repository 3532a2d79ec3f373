"""What ``manifest.json`` of a bundle records of how the model was made and chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.shipping.quality import QualityVerdict
from pipeline.shipping.select import Verdict


@dataclass(frozen=True)
class MadeFrom:
    """What a bundle was made from.

    Attributes:
        data: Fingerprint of the prepared data.
        teacher: SHA-256 of the teacher's weights.
        views: SHA-256 of the view recipe.
        cache: SHA-256 of ``cache.json`` of the teacher's logits.
        student: SHA-256 of the student's weights.
        code: Fingerprint of the code that trained the student.
        onnx: SHA-256 of ``student.onnx`` and ``teacher.onnx``.
        model: SHA-256 of each file of the model, by its path in the folder of the candidates.
        evaluation: SHA-256 of the evaluation that the choice is based on.
        runtime: ``DeviceRuntime.content_hash`` of the device runtime.
    """

    data: str
    teacher: str
    views: str
    cache: str
    student: str
    code: str
    onnx: dict[str, str]
    model: dict[str, str]
    evaluation: str
    runtime: str


@dataclass(frozen=True)
class Chosen:
    """The shipped candidate, why it ships, and the device that it was chosen on."""

    name: str
    reason: str
    device: str


@dataclass(frozen=True)
class Manifest:
    """What later stages read of ``manifest.json``.

    Attributes:
        name: Name of the bundle.
        created_by: Name and version of the program that made it.
        labels: Class names, in the order of the logits.
        threads: Threads that the model was measured with.
        made_from: Hashes of all inputs.
        chosen: The shipped candidate.
        candidates: The verdicts; the file also has the measurements of every candidate.
        params: Parameters by section, without local paths.
        verdict: Whether the shipped candidate is good enough; None in bundles of earlier versions.
    """

    name: str
    created_by: str
    labels: list[str]
    threads: int
    made_from: MadeFrom
    chosen: Chosen
    candidates: list[Verdict]
    params: dict[str, Any]
    verdict: QualityVerdict | None = None


def by_place(files: dict[str, str], folder: str) -> dict[str, str]:
    """Hashes by the path below the project, as error messages name it."""
    return {f"models/{folder}/{name}": digest for name, digest in files.items()}
