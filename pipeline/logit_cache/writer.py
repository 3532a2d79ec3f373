"""Runs the teacher on the views and writes the logit cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from finch_runtime.image_size import ImageSize, height_and_width
from numpy.typing import NDArray
from torch import Tensor

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
from pipeline.models.fitting_batches import FittingBatches
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
    result is then byte-identical. Only one batch is kept in memory; on a GPU two, of which one is
    written while the other is computed.

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
    labels = source.data.split("train").labels
    shape = _describe(source, params).shape
    total = params.views * _batches_per_view(shape[1], params)
    with _open_journal(work, source, params, shape) as written:
        if written.steps:
            on_resume(written.steps, total)
        steps = (step for step in track(range(total), "running the teacher", total))
        batches = _compute(source, params, (step for step in steps if step >= written.steps))
        if source.device.type == "cuda":
            batches = _one_ahead(batches)
        for batch in batches:
            blocks = _read(batch, params)
            own = labels[batch.indices[0] : batch.indices[-1] + 1]
            correct = (blocks[LOGITS].argmax(1)[: len(own)] == own).sum()
            written.append(blocks, int(correct))
            if should_stop():
                raise Stopped(f"{written.steps} of {total} batches of logits are kept")
    digests = {path.name: hash_file(path) for path in written.folder.iterdir()}
    info = replace(
        _describe(source, params),
        dtype=params.dtype,
        sha256=digests[LOGITS],
        views_sha256=digests.get(VIEWS),
        train_accuracy=written.correct / (params.views * len(labels)),
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


@dataclass(frozen=True)
class _Batch:
    """A batch of which a GPU may not have computed the tensors yet.

    Attributes:
        view: View number.
        indices: Numbers of the images, int64 [n], consecutive.
        tensors: Logits, float32 [n, classes], and packed views, by file, on the device.
    """

    view: int
    indices: NDArray[np.int64]
    tensors: dict[str, Tensor]


def _batches_per_view(images: int, params: CacheLogits) -> int:
    return -(-images // params.batch_size)


def _compute(source: CacheSource, params: CacheLogits, steps: Iterable[int]) -> Iterator[_Batch]:
    """Runs the teacher on the batches with these numbers.

    Raises:
        TrainingError: The GPU runs out of memory.
    """
    labelled, unlabelled = source.data.split("train").images, source.data.unlabelled()
    images = len(labelled) + len(unlabelled)
    fitting = FittingBatches("the teacher", source.device, params.batch_size)
    for step in steps:
        view, part = divmod(step, _batches_per_view(images, params))
        start = part * params.batch_size
        indices = np.arange(start, min(start + params.batch_size, images))
        pixels = select_images(labelled, unlabelled, indices)
        run = partial(_run_teacher, source, params, pixels, indices, view)
        parts = fitting.run(run, len(indices))
        yield _Batch(view, indices, {name: _joined(parts, name) for name in parts[0]})


def _joined(parts: list[dict[str, Tensor]], name: str) -> Tensor:
    return parts[0][name] if len(parts) == 1 else torch.cat([part[name] for part in parts])


def _one_ahead(batches: Iterator[_Batch]) -> Iterator[_Batch]:
    """Yields each batch after the next one was started, so that a GPU never waits for files."""
    started = next(batches, None)
    for batch in batches:
        if started is not None:
            yield started
        started = batch
    if started is not None:
        yield started


def _run_teacher(
    source: CacheSource,
    params: CacheLogits,
    images: NDArray[np.uint8],
    indices: NDArray[np.int64],
    view: int,
    rows: slice,
) -> dict[str, Tensor]:
    """Logits and packed views of some rows of a batch, by file, on the device."""
    images, indices = images[rows], indices[rows]
    size = source.key.image_size
    render = partial(make_views, images, indices, view, source.views, source.device)
    pixels = render(size)
    tensors: dict[str, Tensor] = {}
    if params.pack_views and source.view_size != size:
        tensors[VIEWS] = to_uint8(render(source.view_size))
    elif params.pack_views:
        tensors[VIEWS] = to_uint8(pixels)
        pixels = to_unit_range(tensors[VIEWS], source.device)
    if source.fold_teachers is None:
        tensors[LOGITS] = teacher_logits(source.teacher, pixels, source.precision)
    else:
        tensors[LOGITS] = source.fold_teachers.logits(pixels, indices, source.precision)
    return tensors


def _read(batch: _Batch, params: CacheLogits) -> dict[str, NDArray[Any]]:
    """The next block of every file; waits for a GPU.

    Raises:
        TrainingError: A logit is not finite in the dtype of the cache.
    """
    blocks = {name: to_host(tensor) for name, tensor in batch.tensors.items()}
    with np.errstate(over="ignore"):  # overflow raises the error below
        blocks[LOGITS] = blocks[LOGITS].astype(params.dtype)
    if not np.isfinite(blocks[LOGITS]).all():
        first, last = batch.indices[[0, -1]]
        raise TrainingError(
            f"the teacher's logits for view {batch.view}, images {first} to {last}",
            f"are not finite in {params.dtype}",
            "set cache_logits.dtype to float32, or fine-tune the teacher again",
        )
    return blocks


def _describe(source: CacheSource, params: CacheLogits) -> CacheInfo:
    """The content of ``cache.json``, without logits."""
    images = len(source.data.split("train")) + len(source.data.unlabelled())
    shape = (params.views, images, len(source.data.classes))
    return CacheInfo(FORMAT, source.key, relevant_params(params), shape)
