"""What a scout found out, as a JSON value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pipeline.measure.host import describe_host
from pipeline.scout.measuring import ScoutSetup, Student
from pipeline.scout.proposal import closest, meets, propose


def describe(students: Sequence[Student], bench: ScoutSetup) -> dict[str, Any]:
    """What ``scout.json`` holds: every student, and the one to train.

    Returns:
        Among others ``verdict``, a sentence; ``proposal``, a place among ``students``, and
        ``lines``, what to write into ``params.yaml``, which are None where no student meets the
        budget.
    """
    budget = bench.scout.latency_ms
    proposed = propose(students, budget)
    return {
        "verdict": _verdict(proposed, closest(students), budget),
        "lines": None if proposed is None else _lines(proposed),
        "proposal": None if proposed is None else list(students).index(proposed),
        "latency_ms": budget,
        "data": {"source": bench.photographs.source, "classes": bench.photographs.classes},
        "threads": bench.threads,
        "rounds": bench.scout.rounds,
        "runs": bench.scout.runs,
        "candidates": [candidate.name for candidate in bench.candidates],
        "host": asdict(describe_host()),
        "students": [
            {
                **asdict(student),
                "best": None if student.best is None else student.best.name,
                "meets": meets(student, budget),
            }
            for student in students
        ],
    }


def _verdict(proposed: Student | None, nearest: Student | None, budget: float) -> str:
    if proposed is not None:
        return f"{_named(proposed)} is the largest that meets {budget:g} ms: {_timed(proposed)}"
    if nearest is not None:
        return f"none meets {budget:g} ms; {_named(nearest)} comes closest: {_timed(nearest)}"
    return "no student can be measured"


def _named(student: Student) -> str:
    return f"{student.model} at {student.image_size} px"


def _timed(student: Student) -> str:
    best = student.best
    assert best is not None  # or it would be neither proposed nor closest
    return f"p50 {best.p50_ms:.3f} ms ({best.low_ms:.3f} to {best.high_ms:.3f}) as {best.name}"


def _lines(student: Student) -> str:
    return f"prepare:\n  image_size: {student.image_size}\n\ndistill:\n  model: {student.model}\n"
