"""The first student of a project: the largest within a latency budget that learns from few images.

With few photographs, a student that starts from ImageNet weights is far more accurate than a larger
one that starts from random weights. Therefore the networks whose weights are installed come first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.errors import ParameterError
from pipeline.params import Scout
from pipeline.progress import Track, silent
from pipeline.scout.measuring import ScoutSetup, Student
from pipeline.scout.proposal import closest, propose, summary
from pipeline.scout.scouting import scout_students


@dataclass(frozen=True)
class Tier:
    """Networks that are measured together, and how such a student is trained.

    Attributes:
        models: Names of the networks.
        image_sizes: Heights and widths of the images, in pixels.
        training: Values of the section ``distill``.
    """

    models: tuple[str, ...]
    image_sizes: tuple[int, ...]
    training: dict[str, Any]

    def scout(self, **settings: Any) -> Scout:
        """Parameters of a scout of these networks."""
        networks = {"models": list(self.models), "image_sizes": list(self.image_sizes)}
        return Scout.model_validate(settings | networks)


TIERS = (
    Tier(("tf_efficientnet_lite0",), (64, 96, 128, 160, 192, 224), {"pretrained": "package"}),
    Tier(
        ("mobilenetv2_050", "mobilenetv2_035", "mobilenetv3_small_050"),
        (64, 96),
        # Of the literature on training from random weights, as in the recipe `solar-cells`.
        {"pretrained": "none", "lr": 0.05, "weight_decay": 0.0005, "steps": {"min": 2000}},
    ),
)


def find_student(
    setup: ScoutSetup,
    folder: Path,
    *,
    track: Track = silent,
    on_measured: Callable[[Student], None] = lambda student: None,
) -> dict[str, Any]:
    """Measures students until a tier has one within ``setup.scout.latency_ms``.

    Args:
        setup: Images and settings; the networks and image sizes are those of ``TIERS``.
        folder: Measured students are kept here, and are not measured again.
        track: Shows progress.
        on_measured: Called with each student.

    Returns:
        Sections of ``params.yaml`` that select the student.

    Raises:
        ParameterError: No student is within the budget.
    """
    measured: list[Student] = []
    for tier in TIERS:
        scout = tier.scout(**setup.scout.model_dump())
        students = scout_students(
            replace(setup, scout=scout), folder, track=track, on_measured=on_measured
        )
        if student := propose(students, scout.latency_ms):
            return _sections(student, tier)
        measured += students
    nearest = closest(measured)
    thing = f"--latency-ms {setup.scout.latency_ms:g}"
    if nearest is None:
        raise ParameterError(thing, f"no student can be measured: {measured[0].problem}")
    remedy = f"allow {_rounded_up(nearest.bound_ms)} ms or more, or measure on a faster device"
    raise ParameterError(thing, f"no student is that fast; closest: {summary(nearest)}", remedy)


def _sections(student: Student, tier: Tier) -> dict[str, Any]:
    chosen = {"model": student.model, "image_size": student.image_size}
    return {"distill": {**chosen, **tier.training}}


def _rounded_up(milliseconds: float) -> str:
    """With two decimals; at least the value."""
    return f"{-(-milliseconds * 100 // 1) / 100:g}"
