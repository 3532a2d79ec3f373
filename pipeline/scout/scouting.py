"""Every student that the parameters name, measured once."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from pipeline.models.zoo import full_name
from pipeline.progress import Track, silent
from pipeline.scout.measuring import ScoutSetup, Student, measure_student
from pipeline.scout.store import StudentStore, key_of


def scout_students(
    bench: ScoutSetup,
    store: StudentStore,
    *,
    track: Track = silent,
    on_done: Callable[[Student], None] = lambda student: None,
) -> list[Student]:
    """Measures every network at every resolution, unless it was measured already.

    A student that cannot be measured is not kept: the next run tries it again.

    Args:
        bench: What to measure, and how.
        store: Where measured students are kept.
        track: Shows progress.
        on_done: Is told of each student as it is there.

    Raises:
        ParameterError: No library has a network of some name; nothing was measured then.
    """
    models = [full_name(model) for model in bench.scout.models]
    pairs = list(itertools.product(models, bench.scout.image_sizes))
    students = []
    for model, image_size in track(pairs, "scouting", len(pairs)):
        key = key_of(model, image_size, bench)
        student = store.read(key)
        if student is None:
            student = measure_student(model, image_size, bench)
            if student.problem is None:
                store.keep(key, student)
        on_done(student)
        students.append(student)
    return students
