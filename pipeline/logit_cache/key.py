"""What a logit cache was made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.data.prepared import PreparedData
from pipeline.errors import TrainingError
from pipeline.files import hash_value
from pipeline.params import Views


@dataclass(frozen=True)
class CacheKey:
    """What a cache was made from; with any other teacher, data or recipe it says nothing.

    Attributes:
        teacher: SHA-256 of the teacher's weights.
        data: Fingerprint of the prepared data.
        views: SHA-256 of the view recipe.
    """

    teacher: str
    data: str
    views: str


def cache_key(teacher_sha256: str, data: PreparedData, recipe: Views) -> CacheKey:
    """The key under which a cache is valid."""
    return CacheKey(teacher_sha256, data.fingerprint, hash_value(recipe.model_dump()))


def check_classes(teacher: Sequence[str], student: Sequence[str]) -> None:
    """Holds a teacher to the classes that a student is to learn.

    Args:
        teacher: Class names in the order of the teacher's logits.
        student: Class names in the order of the data's labels.

    Raises:
        TrainingError: They differ in number, name or order.
    """
    if len(teacher) != len(student):
        problem = f"knows {len(teacher)} classes, the student is to learn {len(student)}"
    else:
        pairs = zip(teacher, student, strict=True)
        differ = next(((i, a, b) for i, (a, b) in enumerate(pairs) if a != b), None)
        if differ is None:
            return
        problem = "knows class {} as {!r}, the student is to learn {!r}".format(*differ)
    raise TrainingError("the teacher", problem, "fine-tune the teacher on this data")
