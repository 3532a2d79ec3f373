"""Runs the teacher over the views and packs what it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from pipeline.data.prepared import PreparedData
from pipeline.errors import Stopped, TrainingError
from pipeline.files import hash_file, hash_value, whole_folder, write_json
from pipeline.logit_cache.key import CacheKey, check_classes
from pipeline.logit_cache.layout import FORMAT, INFO, LOGITS, VIEWS
from pipeline.logit_cache.unfinished import Layout, Unfinished
from pipeline.models.classifier import Classifier
from pipeline.models.inference import teacher_logits
from pipeline.params import Views
from pipeline.progress import Track, silent
from pipeline.views import make_views, to_bytes, to_unit_range


def write_logit_cache(
    folder: Path,
    teacher: Classifier,
    key: CacheKey,
    data: PreparedData,
    recipe: Views,
    *,
    views: int,
    dtype: Literal["float16", "float32"],
    batch_size: int,
    device: torch.device,
    work: Path,
    precision: torch.dtype = torch.float32,
    pack_views: bool = False,
    stop: Callable[[], bool] = lambda: False,
    track: Track = silent,
    on_resume: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Runs the teacher on every view and packs its logits in one file, [K, n, classes].

    The process may be killed at any moment: the same call goes on where it was, and on the CPU,
    with as many threads, ends in the same bytes. Memory holds one batch.

    Args:
        folder: Replaced as a whole: ``logits.npy`` and ``cache.json``.
        teacher: In evaluation mode.
        key: What the cache is made from.
        data: Its training split is answered.
        recipe: What a view is.
        views: K, the number of views per image, 1 or more.
        dtype: Type of the stored logits.
        batch_size: Views the teacher sees at once.
        device: Where the teacher runs.
        work: Where the cache is made, best in the file system of ``folder``; nothing else may be
            in there.
        precision: What the teacher computes in.
        pack_views: Keep the views too, as uint8 ``views.npy`` [K, n, size, size, 3]. The teacher
            then sees the rounded pixels, just as the student will.
        stop: Asked after every batch; when it says yes, writing ends.
        track: Shows progress.
        on_resume: Called with the batches that are done and all there are, when writing goes on.

    Returns:
        What ``cache.json`` holds.

    Raises:
        TrainingError: The teacher knows other classes, its logits are not finite or do not fit
            the type, or they cannot be written.
        Stopped: ``stop`` said yes.
    """
    check_classes(teacher.spec.classes, data.classes)
    split = data.split("train")
    shape = (views, len(split), len(data.classes))
    layouts = {LOGITS: Layout(np.dtype(dtype), shape)}
    if pack_views:
        layouts[VIEWS] = Layout(np.dtype(np.uint8), (views, *split.images.shape))
    bytes_follow_from = [
        *[FORMAT, vars(key), views, dtype, batch_size, pack_views, str(precision)],
        *[torch.__version__, device.type, torch.get_num_threads()],
    ]
    per_view = -(-len(split) // batch_size)
    total = views * per_view
    with Unfinished(work, hash_value(bytes_follow_from), layouts) as made:
        done = made.steps
        if done:
            on_resume(done, total)
        for step in track(range(total), "asking the teacher", total):
            if step < done:
                continue
            view, start = step // per_view, step % per_view * batch_size
            places = np.arange(start, min(start + batch_size, len(split)))
            pixels = make_views(split.images[places], places, view, recipe, device)
            blocks: dict[str, Any] = {}
            if pack_views:
                blocks[VIEWS] = to_bytes(pixels)
                pixels = to_unit_range(blocks[VIEWS], device)
            with np.errstate(over="ignore"):  # told below, with the images
                answers = teacher_logits(teacher, pixels, precision).cpu().numpy().astype(dtype)
            if not np.isfinite(answers).all():
                raise TrainingError(
                    f"the teacher's logits on view {view}, images {start} to {places[-1]}",
                    f"are not finite as {dtype}",
                    "set cache_logits.dtype to float32, or fine-tune the teacher again",
                )
            blocks[LOGITS] = answers
            made.append(blocks, int((answers.argmax(1) == split.labels[places]).sum()))
            if stop():
                raise Stopped(f"{made.steps} of {total} batches of the teacher's answers are kept")
    digests = {name: hash_file(made.folder / name) for name in layouts}
    info = _describe(key, shape, dtype, digests, made.right / (views * len(split)))
    write_json(made.folder / INFO, info)
    made.finish(folder)
    return info


def write_empty_cache(folder: Path, teacher: Classifier, key: CacheKey, data: PreparedData) -> None:
    """Says, in place of a cache, that nothing is cached: the teacher is to run live (K = 0).

    Args:
        folder: Replaced as a whole: just ``cache.json``.
        teacher: Which will be asked.
        key: What its answers will follow from.
        data: Of which it will be asked.

    Raises:
        TrainingError: The teacher knows other classes.
    """
    check_classes(teacher.spec.classes, data.classes)
    shape = (0, len(data.split("train")), len(data.classes))
    with whole_folder(folder) as temporary:
        write_json(temporary / INFO, _describe(key, shape, None, {}, None))


def _describe(
    key: CacheKey,
    shape: tuple[int, ...],
    dtype: str | None,
    digests: dict[str, str],
    train_accuracy: float | None,
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "key": vars(key),
        "shape": list(shape),
        "dtype": dtype,
        "sha256": digests.get(LOGITS),
        "views_sha256": digests.get(VIEWS),
        "train_accuracy": train_accuracy,
    }
