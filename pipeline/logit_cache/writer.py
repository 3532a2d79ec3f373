"""Runs the teacher on the views and writes the logit cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from finch_runtime.image_size import ImageSize, height_and_width
from numpy.typing import NDArray

from pipeline.code_fingerprint import code_fingerprint
from pipeline.data.prepared import PreparedData, select_images
from pipeline.errors import Stopped, TrainingError
from pipeline.files import atomic_folder, hash_file, hash_value, write_json
from pipeline.logit_cache.fold_teachers import FoldTeachers
from pipeline.logit_cache.journal import Arrays, JournaledArrays
from pipeline.logit_cache.reader import (
    FORMAT,
    INFO,
    LOGITS,
    VIEWS,
    CacheInfo,
    CacheKey,
    check_classes,
    relevant_params,
)
from pipeline.models.classifier import Classifier
from pipeline.models.ensemble import Ensemble
from pipeline.models.inference import teacher_logits
from pipeline.models.zoo import library_versions
from pipeline.params import CacheLogits, Views
from pipeline.progress import Track, silent
from pipeline.transfers import to_host
from pipeline.views import make_views, to_uint8, to_unit_range


@dataclass(frozen=True)
class CacheSource:
    """The inputs of a logit cache.

    Attributes:
        teacher: Teacher, or its networks, in evaluation mode.
        key: Key of the cache.
        data: Prepared data; the training split is used.
        views: View recipe.
        device: Device of the teacher.
        precision: Dtype of the teacher's forward pass.
        fold_teachers: Answer in place of the teacher; None if it answers itself.
        packed_size: Size of the views to pack, which the student sees; None for that of those that
            the teacher sees.
    """

    teacher: Classifier | Ensemble
    key: CacheKey
    data: PreparedData
    views: Views
    device: torch.device
    precision: torch.dtype = torch.float32
    fold_teachers: FoldTeachers | None = None
    packed_size: ImageSize | None = None

    @property
    def view_size(self) -> ImageSize:
        """Size of the packed views."""
        return self.packed_size or self.key.image_size


def write_logit_cache(
    folder: Path,
    source: CacheSource,
    params: CacheLogits,
    *,
    work: Path,
    should_stop: Callable[[], bool] = lambda: False,
    track: Track = silent,
    on_resume: Callable[[int, int], None] = lambda done, total: None,
) -> CacheInfo:
    """Writes the teacher's logits for K views of every training image.

    The images without labels follow those with labels, so that n is the number of both.

    The same call resumes after an interruption. On the CPU, with the same number of threads, the
    result is then byte-identical. Only one batch is kept in memory.

    Args:
        folder: Cache to replace: ``cache.json`` (returned), ``logits.npy`` [K, n, classes] and,
            with ``pack_views``, ``views.npy`` uint8 [K, n, height, width, channels]. If the teacher
            sees views of this size, the logits are then computed from these rounded pixels.
        source: Teacher, data and view recipe.
        params: Number of views (1 or more), dtype and batch size.
        work: Folder for unfinished files, if possible on the file system of ``folder``.
        should_stop: Called after every batch; if true, writing stops.
        track: Progress bar.
        on_resume: Called on resuming with the number of finished batches and of all batches.

    Raises:
        TrainingError: The teacher has other classes, or its logits are not finite in the dtype of
            the cache, or the GPU runs out of memory.
        StorageError: A file cannot be written; finished batches are kept.
        Stopped: ``should_stop`` returned true.
    """
    check_classes(source.teacher.spec.classes, source.data.classes)
    split, unlabelled = source.data.split("train"), source.data.unlabelled()
    shape = _describe(source, params).shape
    images = shape[1]
    per_view = -(-images // params.batch_size)
    total = params.views * per_view
    with _open_journal(work, source, params, shape) as written:
        finished = written.steps
        if finished:
            on_resume(finished, total)
        for step in track(range(total), "running the teacher", total):
            if step < finished:
                continue
            view, start = step // per_view, step % per_view * params.batch_size
            indices = np.arange(start, min(start + params.batch_size, images))
            pixels = select_images(split.images, unlabelled, indices)
            try:
                blocks = _run_teacher(source, params, pixels, indices, view)
            except torch.OutOfMemoryError as error:
                raise TrainingError(
                    f"cache_logits.batch_size = {params.batch_size}",
                    f"a batch does not fit in the memory of {source.device} "
                    f"({str(error).split('. ')[0]})",
                    "lower it; finished batches are kept",
                ) from None
            labels = split.labels[start : start + len(indices)]
            correct = (blocks[LOGITS].argmax(1)[: len(labels)] == labels).sum()
            written.append(blocks, int(correct))
            if should_stop():
                raise Stopped(f"{written.steps} of {total} batches of logits are kept")
    digests = {path.name: hash_file(path) for path in written.folder.iterdir()}
    info = replace(
        _describe(source, params),
        dtype=params.dtype,
        sha256=digests[LOGITS],
        views_sha256=digests.get(VIEWS),
        train_accuracy=written.correct / (params.views * len(split)),
    )
    write_json(written.folder / INFO, asdict(info))
    written.move_to(folder)
    return info


def write_empty_cache(folder: Path, source: CacheSource, params: CacheLogits) -> None:
    """Writes a cache with K = 0, only ``cache.json``; distillation then runs the teacher.

    Raises:
        TrainingError: The teacher has other classes.
    """
    check_classes(source.teacher.spec.classes, source.data.classes)
    with atomic_folder(folder) as temporary:
        write_json(temporary / INFO, asdict(_describe(source, params)))


def _open_journal(
    work: Path, source: CacheSource, params: CacheLogits, shape: tuple[int, ...]
) -> JournaledArrays:
    arrays: Arrays = {LOGITS: (np.dtype(params.dtype), shape)}
    if params.pack_views:
        pixels = (*height_and_width(source.view_size), source.data.channels)
        arrays[VIEWS] = (np.dtype(np.uint8), (*shape[:2], *pixels))
    environment = [library_versions(), source.device.type, torch.get_num_threads()]
    # Batches computed by other code must not be continued.
    code = code_fingerprint(__name__, type(source.teacher))
    inputs = [FORMAT, vars(source.key), params.model_dump(), str(source.precision)]
    return JournaledArrays(work, hash_value([*inputs, environment, code]), arrays)


def _run_teacher(
    source: CacheSource,
    params: CacheLogits,
    images: NDArray[np.uint8],
    indices: NDArray[np.int64],
    view: int,
) -> dict[str, NDArray[Any]]:
    """The next block of every file."""
    size = source.key.image_size
    render = partial(make_views, images, indices, view, source.views, source.device)
    pixels = render(size)
    blocks: dict[str, NDArray[Any]] = {}
    if params.pack_views and source.view_size != size:
        blocks[VIEWS] = to_uint8(render(source.view_size))
    elif params.pack_views:
        blocks[VIEWS] = to_uint8(pixels)
        pixels = to_unit_range(blocks[VIEWS], source.device)
    if source.fold_teachers is None:
        answers = teacher_logits(source.teacher, pixels, source.precision)
    else:
        answers = source.fold_teachers.logits(pixels, indices, source.precision)
    logits = to_host(answers)
    with np.errstate(over="ignore"):  # overflow raises the error below
        blocks[LOGITS] = logits.astype(params.dtype)
    if not np.isfinite(blocks[LOGITS]).all():
        raise TrainingError(
            f"the teacher's logits for view {view}, images {indices[0]} to {indices[-1]}",
            f"are not finite in {params.dtype}",
            "set cache_logits.dtype to float32, or fine-tune the teacher again",
        )
    return blocks


def _describe(source: CacheSource, params: CacheLogits) -> CacheInfo:
    """The content of ``cache.json``, without logits."""
    images = len(source.data.split("train")) + len(source.data.unlabelled())
    shape = (params.views, images, len(source.data.classes))
    return CacheInfo(FORMAT, source.key, relevant_params(params), shape)
