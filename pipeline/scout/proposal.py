"""Proposes the student to train."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from pipeline.measure.host import describe_host
from pipeline.scout.measuring import ScoutSetup, Student


def is_within(student: Student, latency_ms: float) -> bool:
    """Whether the whole 95 % interval of the best candidate's p50 is within the budget."""
    return student.best is not None and student.best.high_ms <= latency_ms


def propose(students: Iterable[Student], latency_ms: float) -> Student | None:
    """The largest student within the budget; None if there is none.

    The largest is the one with the most multiply-adds: of what is known before training, they
    predict accuracy best. Ties are broken by more parameters, then by lower latency.
    """

    def size(student: Student) -> tuple[float, float, float]:
        assert student.best is not None  # else it is not within the budget
        return student.multiply_adds or 0, student.parameters or 0, -student.best.high_ms

    return max((s for s in students if is_within(s, latency_ms)), key=size, default=None)


def closest(students: Iterable[Student]) -> Student | None:
    """The student whose interval has the lowest upper end; None if none was measured."""
    measured = [(s.best.high_ms, s) for s in students if s.best is not None]
    return min(measured, key=lambda pair: pair[0], default=(0, None))[1]


def describe(students: Sequence[Student], setup: ScoutSetup) -> dict[str, Any]:
    """Content of ``scout.json``: every student, and the proposal.

    Returns:
        JSON value. ``verdict`` is a sentence, ``proposal`` an index into ``students``, and
        ``lines`` a piece of ``params.yaml``; the latter two are None if no student is within the
        budget.
    """
    budget = setup.scout.latency_ms
    proposed, nearest = propose(students, budget), closest(students)
    lines = None
    if proposed is not None:
        verdict = f"the largest student within {budget:g} ms is {_summary(proposed)}"
        prepare = f"prepare:\n  image_size: {proposed.image_size}\n"
        lines = f"{prepare}\ndistill:\n  model: {proposed.model}\n"
    elif nearest is not None:
        verdict = f"no student is within {budget:g} ms; the closest is {_summary(nearest)}"
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
        "candidates": [candidate.name for candidate in setup.candidates],
        "host": asdict(describe_host()),
        "students": [
            {
                **asdict(student),
                "best": None if student.best is None else student.best.name,
                "meets": is_within(student, budget),
            }
            for student in students
        ],
    }


def _summary(student: Student) -> str:
    best = student.best
    assert best is not None  # else it is neither proposed nor closest
    latency = f"p50 {best.p50_ms:.3f} ms ({best.low_ms:.3f} to {best.high_ms:.3f})"
    return f"{student.model} at {student.image_size} px: {latency} as {best.name}"
