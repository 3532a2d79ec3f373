"""Which student to train."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.scout.measuring import Student


def meets(student: Student, latency_ms: float) -> bool:
    """Whether a candidate's p50 is within the budget with the whole of its 95 % interval."""
    return student.best is not None and student.best.high_ms <= latency_ms


def propose(students: Iterable[Student], latency_ms: float) -> Student | None:
    """The largest student that meets the budget; None where none does.

    The largest is the one with the most multiply-adds at its resolution: before any training they
    say best how much it can learn. Of equals it is the one with more parameters, then the faster.
    """

    def size(student: Student) -> tuple[float, float, float]:
        assert student.best is not None  # else it does not meet the budget
        return student.multiply_adds or 0, student.parameters or 0, -student.best.high_ms

    return max((s for s in students if meets(s, latency_ms)), key=size, default=None)


def closest(students: Iterable[Student]) -> Student | None:
    """The student whose interval ends lowest; None where none was measured."""
    measured = [(s.best.high_ms, s) for s in students if s.best is not None]
    return min(measured, key=lambda pair: pair[0], default=(0, None))[1]
