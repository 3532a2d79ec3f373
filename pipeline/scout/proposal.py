"""Proposes the student to train."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from finch_runtime.image_size import height_and_width, in_pixels

from pipeline.measure.host import describe_host
from pipeline.scout.measuring import ScoutSetup, Student


def propose(students: Iterable[Student], latency_ms: float) -> Student | None:
    """The largest student whose whole interval is within the budget; None if there is none.

    The largest student has the most multiply-adds, which predict accuracy better than anything else
    that is known before training. Ties are broken by more parameters, then by lower latency.
    """

    def size(student: Student) -> tuple[float, float, float]:
        return student.multiply_adds or 0, student.parameters or 0, -student.bound_ms

    return max((s for s in students if s.bound_ms <= latency_ms), key=size, default=None)


def closest(students: Iterable[Student]) -> Student | None:
    """The student whose interval has the lowest upper end; None if none was measured."""
    return min((s for s in students if s.timings), key=lambda s: s.bound_ms, default=None)


def describe(students: Sequence[Student], setup: ScoutSetup) -> dict[str, Any]:
    """Content of ``scout.json``: every student, and the proposal.

    ``verdict`` is a sentence. ``proposal`` is an index into ``students`` and ``lines`` is a part of
    ``params.yaml``; both are None if no student is within the budget.
    """
    budget = setup.scout.latency_ms
    proposed, nearest = propose(students, budget), closest(students)
    lines = None
    if proposed is not None:
        verdict = f"the largest student within {budget:g} ms is {summary(proposed)}"
        height, _ = height_and_width(proposed.image_size)
        lines = f"distill:\n  model: {proposed.model}\n  image_size: {height}\n"
    elif nearest is not None:
        verdict = f"no student is within {budget:g} ms; the closest is {summary(nearest)}"
    else:
        verdict = "no student can be measured"
    return {
        "verdict": verdict,
        "lines": lines,
        "proposal": None if proposed is None else list(students).index(proposed),
        "latency_ms": budget,
        "data": {"source": setup.images.source, "classes": setup.images.classes},
        "threads": setup.threads,
        "rounds": setup.scout.rounds,
        "runs": setup.scout.runs,
        "candidates": [candidate.name for candidate in setup.measured],
        "left_out": setup.left_out,
        "host": asdict(describe_host()),
        "students": [
            {
                **asdict(student),
                "best": student.best and student.best.name,
                "meets": student.bound_ms <= budget,
            }
            for student in students
        ],
    }


def summary(student: Student) -> str:
    """Such as ``resnet18 at 96 px: p50 1.234 ms (1.200 to 1.250) as onnxruntime-fp32``."""
    best = student.best
    assert best is not None  # else it is neither proposed nor closest
    latency = f"p50 {best.p50_ms:.3f} ms ({best.low_ms:.3f} to {best.high_ms:.3f})"
    return f"{student.model} at {in_pixels(student.image_size)}: {latency} as {best.name}"
