"""The inputs that a logit cache depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.data.prepared import PreparedData
from pipeline.errors import TrainingError
from pipeline.files import hash_value
from pipeline.params import Views


@dataclass(frozen=True)
class CacheKey:
    """The inputs of a cache; with any other input it is invalid.

    Attributes:
        teacher: SHA-256 of the teacher's weights.
        data: Fingerprint of the prepared data.
        views: SHA-256 of the view recipe.
    """

    teacher: str
    data: str
    views: str


def cache_key(teacher_sha256: str, data: PreparedData, recipe: Views) -> CacheKey:
    """The key of a teacher, prepared data and a view recipe."""
    return CacheKey(teacher_sha256, data.fingerprint, hash_value(recipe.model_dump()))


def check_classes(teacher: Sequence[str], student: Sequence[str]) -> None:
    """Checks that the teacher's logits are in the order of the student's labels.

    Args:
        teacher: Class names of the teacher.
        student: Class names of the prepared data.

    Raises:
        TrainingError: They differ in number, name or order.
    """
    fix = "fine-tune the teacher on this data"
    if len(teacher) != len(student):
        problem = f"has {len(teacher)} classes, the student has {len(student)}"
        raise TrainingError("the teacher", problem, fix)
    for index, (theirs, ours) in enumerate(zip(teacher, student, strict=True)):
        if theirs != ours:
            problem = f"has class {index} = {theirs!r}, the student has {ours!r}"
            raise TrainingError("the teacher", problem, fix)
