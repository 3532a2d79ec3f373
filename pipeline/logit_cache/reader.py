"""The key of a logit cache, and reading a cache that has this key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.prepared import PreparedData
from pipeline.errors import ArtifactError, TrainingError
from pipeline.files import hash_value, open_array, read_json
from pipeline.params import Views

FORMAT = 2
INFO = "cache.json"
LOGITS = "logits.npy"
VIEWS = "views.npy"


@dataclass(frozen=True)
class CacheKey:
    """The inputs of a cache, which is invalid for any other inputs.

    Attributes:
        teacher: SHA-256 of the teacher's weights.
        data: Fingerprint of the prepared data.
        views: SHA-256 of the view recipe.
    """

    teacher: str
    data: str
    views: str


def cache_key(teacher_sha256: str, data: PreparedData, recipe: Views) -> CacheKey:
    """The key for a teacher, prepared data and a view recipe."""
    return CacheKey(teacher_sha256, data.fingerprint, hash_value(recipe.model_dump()))


def check_classes(teacher: Sequence[str], student: Sequence[str]) -> None:
    """Checks that the teacher has the student's classes in the same order.

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


def read_cache(folder: Path, key: CacheKey, views: int | None = None) -> dict[str, Any]:
    """Reads ``cache.json`` and checks its key.

    Args:
        folder: Folder of the cache.
        key: Expected key.
        views: Expected number of views per image, 0 for an empty cache; None accepts any number.

    Raises:
        ArtifactError: The file is missing, has another format, or was made from other inputs.
    """
    path = folder / INFO
    info = read_json(path)
    if info.get("format") != FORMAT:
        raise ArtifactError(path, f"has format {info.get('format')!r}, expected {FORMAT}")
    stale = [name for name, value in vars(key).items() if info["key"].get(name) != value]
    if stale:
        made_from = {"teacher": "another teacher", "data": "other data", "views": "other views"}
        raise ArtifactError(path, f"was made from {' and '.join(made_from[n] for n in stale)}")
    found = info["shape"][0]
    if views is not None and found != views:
        raise ArtifactError(path, f"was made with cache_logits.views = {found}, expected {views}")
    return info


def open_logit_cache(folder: Path, key: CacheKey) -> NDArray[np.floating]:
    """Opens the logits of a cache: float16 or float32 [K, n, classes], memory-mapped.

    Raises:
        ArtifactError: The cache is missing, truncated, empty (K = 0), or was made from other
            inputs.
    """
    info = read_cache(folder, key)
    if info["shape"][0] == 0:
        problem = "contains no logits: it was made with cache_logits.views = 0"
        remedy = "set cache_logits.views to 1 or more, then run `finch cache-logits`"
        raise ArtifactError(folder / INFO, problem, remedy)
    return _open(folder / LOGITS, info["shape"], info["dtype"])


def open_packed_views(folder: Path) -> NDArray[np.uint8] | None:
    """Opens the packed views of a cache that ``open_logit_cache`` has checked.

    Returns:
        uint8 [K, n, size, size, 3], memory-mapped; None if views are not packed.

    Raises:
        ArtifactError: The file is missing or truncated.
    """
    info = read_json(folder / INFO)
    if info["views_sha256"] is None:
        return None
    return _open(folder / VIEWS, info["shape"][:2], "uint8")


def _open(path: Path, shape: list[int], dtype: str) -> NDArray[Any]:
    """Opens an array and checks its dtype and first dimensions."""
    array = open_array(path)
    if list(array.shape[: len(shape)]) != shape or str(array.dtype) != dtype:
        raise ArtifactError(path, f"has {array.dtype} {array.shape}, unlike {INFO}")
    return array
