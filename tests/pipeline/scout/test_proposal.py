import itertools

import pytest

from pipeline.scout.measuring import Student, Timing
from pipeline.scout.proposal import closest, propose


def timing(low, high, name="fp32"):
    return Timing(name, 1000, (low + high) / 2, low, high, [low, high])


def student(model, multiply_adds, *timings, parameters=10):
    return Student(model, 96, multiply_adds, parameters, list(timings))


SMALL = student("small", 100, timing(0.4, 0.5))
LARGE = student("large", 300, timing(0.8, 0.9))
# Its estimate is within a budget of 1 ms, its interval is not.
UNSURE = student("unsure", 400, timing(0.85, 1.1))
SLOW = student("slow", 200, timing(2.0, 2.2))
BROKEN = Student("broken", 96, 900, 90, [], "it cannot be exported")
ALL = [SMALL, LARGE, UNSURE, SLOW, BROKEN]


@pytest.mark.parametrize(
    ("budget", "model"),
    [
        (0.49, None),
        (0.5, "small"),  # the budget itself is within it
        (0.89, "small"),
        (1.0, "large"),
        (1.1, "unsure"),
        (9.0, "unsure"),  # never the slow and small one
    ],
)
def test_the_most_multiply_adds_within_the_budget_are_proposed(budget, model):
    for students in itertools.permutations(ALL):
        found = propose(students, budget)
        assert (found and found.model) == model


def test_the_candidate_with_the_lowest_upper_end_counts():
    fast = student(
        "mixed", 500,
        timing(3.0, 3.1, "fp32"), timing(0.5, 1.4, "jumpy"), timing(0.9, 1.0, "steady"),
    )  # fmt: skip
    assert fast.best.name == "steady"
    assert fast.bound_ms == 1.0
    assert propose([*ALL, fast], 1.0) is fast


def test_ties_are_broken_by_parameters_then_by_latency():
    few = student("few", 700, timing(0.1, 0.2), parameters=5)
    many = student("many", 700, timing(0.3, 0.4), parameters=6)
    faster = student("faster", 700, timing(0.2, 0.3), parameters=6)
    for students in itertools.permutations([few, many, faster]):
        assert propose(students, 1.0) is faster
    assert propose([few, many], 1.0) is many


def test_the_closest_student_has_the_lowest_upper_end():
    assert propose(ALL, 0.1) is None
    assert closest(ALL) is SMALL
    assert closest([BROKEN, SLOW, UNSURE]) is UNSURE


def test_a_student_that_was_not_measured_is_neither_proposed_nor_closest():
    assert propose([BROKEN], 9.0) is None
    assert closest([BROKEN]) is None
    assert closest([]) is None
