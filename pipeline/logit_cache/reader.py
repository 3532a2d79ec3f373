"""The key of a logit cache, and reading a cache that has this key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from finch_runtime.image_size import ImageSize, image_size, in_pixels
from numpy.typing import NDArray

from pipeline.data.prepared import PreparedData
from pipeline.errors import ArtifactError, TrainingError
from pipeline.files import (
    hash_file,
    hash_value,
    open_array,
    parse_artifact,
    read_artifact,
    read_json,
)
from pipeline.params import CacheLogits, Views
from pipeline.provenance import check_inputs

FORMAT = 4
INFO = "cache.json"
LOGITS = "logits.npy"
VIEWS = "views.npy"


@dataclass(frozen=True)
class CacheKey:
    """The inputs of a cache, which is invalid for any other inputs.

    Attributes:
        teacher: SHA-256 that names the teacher, as ``TeacherRecord.sha256``.
        data: Fingerprint of the prepared data.
        views: SHA-256 of the view recipe.
        image_size: Size of the views that the teacher sees.
    """

    teacher: str
    data: str
    views: str
    image_size: ImageSize


# Parameters that change the content; with 0 views only the first one does.
_PARAMS = ("views", "dtype", "precision", "pack_views", "folds")


@dataclass(frozen=True)
class CacheInfo:
    """Content of ``cache.json``.

    Attributes:
        format: Version of the layout.
        key: The inputs.
        params: Values of the section ``cache_logits`` that change the content.
        shape: Number of views K, images and classes; images without labels are the last ones.
        dtype: Dtype of the logits; like the next attributes, None if K = 0.
        sha256: SHA-256 of ``logits.npy``.
        views_sha256: SHA-256 of ``views.npy``; None if views are not packed.
        train_accuracy: The teacher's accuracy on the views of the images with labels.
    """

    format: int
    key: CacheKey
    params: dict[str, int | str | bool]
    shape: tuple[int, int, int]
    dtype: str | None = None
    sha256: str | None = None
    views_sha256: str | None = None
    train_accuracy: float | None = None


def relevant_params(params: CacheLogits) -> dict[str, Any]:
    """The values of ``CacheInfo.params``."""
    return {name: getattr(params, name) for name in (_PARAMS if params.views else _PARAMS[:1])}


def cache_key(
    teacher_sha256: str, data: PreparedData, recipe: Views, teacher_size: ImageSize
) -> CacheKey:
    """The key for a teacher with the size of its images, prepared data and a view recipe."""
    return CacheKey(teacher_sha256, data.fingerprint, hash_value(recipe.model_dump()), teacher_size)


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


def read_cache(folder: Path, key: CacheKey, params: CacheLogits | None = None) -> CacheInfo:
    """Reads ``cache.json`` and checks what it was made from.

    Args:
        folder: Folder of the cache.
        key: Expected key.
        params: Expected parameters; None accepts any.

    Raises:
        ArtifactError: The file is missing or damaged, has another format, or was made from other
            inputs or with other parameters.
    """
    path = folder / INFO
    value = read_json(path)
    if value.get("format") != FORMAT:
        raise ArtifactError(path, f"has format {value.get('format')!r}, expected {FORMAT}")
    info = parse_artifact(path, CacheInfo, value)
    if info.key.image_size != key.image_size:
        before, now = in_pixels(info.key.image_size), in_pixels(key.image_size)
        raise ArtifactError(path, f"was made with a teacher of {before}, which now sees {now}")
    hashes = {name: value for name, value in vars(key).items() if name != "image_size"}
    check_inputs(path, vars(info.key), **hashes)
    for name, found in info.params.items():
        wanted = found if params is None else getattr(params, name)
        if found != wanted:
            problem = f"was made with cache_logits.{name} = {found}, expected {wanted}"
            raise ArtifactError(path, problem)
    return info


def open_logit_cache(
    folder: Path, key: CacheKey, params: CacheLogits | None = None
) -> NDArray[np.floating]:
    """Opens the logits of a cache: float16 or float32 [K, n, classes], memory-mapped.

    The arguments are those of ``read_cache``.

    Raises:
        ArtifactError: As ``read_cache``; or the cache is truncated, changed or empty (K = 0).
    """
    info = read_cache(folder, key, params)
    if info.dtype is None or info.sha256 is None:
        problem = "contains no logits: it was made with cache_logits.views = 0"
        remedy = "set cache_logits.views to 1 or more, then run `finch cache-logits`"
        raise ArtifactError(folder / INFO, problem, remedy)
    return _open(folder / LOGITS, info.shape, info.dtype, info.sha256)


def open_packed_views(folder: Path, size: ImageSize) -> NDArray[np.uint8] | None:
    """Opens the packed views of a cache that ``open_logit_cache`` has checked.

    Args:
        folder: Folder of the cache.
        size: Size of the student's input.

    Returns:
        uint8 [K, n, height, width, channels], memory-mapped; None if views are not packed.

    Raises:
        ArtifactError: The file is missing, truncated or changed, or its views have another size.
    """
    info = read_artifact(folder / INFO, CacheInfo)
    if info.views_sha256 is None:
        return None
    views = _open(folder / VIEWS, info.shape[:2], "uint8", info.views_sha256)
    if (packed := image_size(*views.shape[2:4])) != size:
        problem = f"has views of {in_pixels(packed)}, and the student sees {in_pixels(size)}"
        raise ArtifactError(folder / VIEWS, problem)
    return views


def _open(path: Path, shape: tuple[int, ...], dtype: str, sha256: str) -> NDArray[Any]:
    """Opens an array, and checks its dtype, first dimensions and hash."""
    array = open_array(path)
    if array.shape[: len(shape)] != shape or str(array.dtype) != dtype:
        raise ArtifactError(path, f"has {array.dtype} {array.shape}, unlike {INFO}")
    if hash_file(path) != sha256:
        raise ArtifactError(path, f"was changed: its hash is not the one in {INFO}")
    return array
