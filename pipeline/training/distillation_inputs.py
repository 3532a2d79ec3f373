"""The inputs of distillation and QAT: prepared data, the teacher's logits, and the loss."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.data.prepared import PreparedData, open_prepared
from pipeline.files import hash_file
from pipeline.logit_cache import (
    CacheKey,
    cache_key,
    check_classes,
    open_logit_cache,
    open_packed_views,
    read_cache,
)
from pipeline.losses import build_loss
from pipeline.losses.figkd.class_order import order_classes
from pipeline.losses.figkd.transform import ClassAxisDWT, band_energy
from pipeline.models.classifier import read_head_weights
from pipeline.models.ensemble import load_teacher
from pipeline.models.record import read_teacher
from pipeline.params import Distill, Params
from pipeline.training.device import prepare_torch
from pipeline.training.precision import resolve_precision
from pipeline.training.task import TrainingTask
from pipeline.training.teacher import CachedTeacher, LiveTeacher
from pipeline.training.unlabelled import open_unlabelled


@dataclass(frozen=True)
class DistillationInputs:
    """The inputs of training a student.

    Attributes:
        data: Prepared data.
        task: Recipe, loss, splits and teacher.
        device: Training device.
        class_order: Class at each position of the wavelet transform's axis.
        cache_key: Key of the logit cache.
        cache_sha256: SHA-256 of ``cache.json``.
        key_inputs: JSON values that the result depends on, for the checkpoint key.
    """

    data: PreparedData
    task: TrainingTask
    device: torch.device
    class_order: list[int]
    cache_key: CacheKey
    cache_sha256: str
    key_inputs: dict[str, Any]


_MOST_IMAGES = 10_000  # whose logits are measured


def measure_band_energy(inputs: DistillationInputs) -> dict[str, float]:
    """The fraction of the energy of the teacher's logits in each wavelet band of FiGKD.

    Returns:
        As ``band_energy``, for the first cached view of the images with labels; empty for another
        method, and without a cache.
    """
    task, recipe = inputs.task, inputs.task.recipe
    if not (isinstance(recipe, Distill) and recipe.method == "figkd"):
        return {}
    if not isinstance(task.teacher, CachedTeacher):
        return {}
    options: Any = getattr(recipe, "figkd")  # noqa: B009  (a section of the registered loss)
    names = ("wavelet", "level", "mode")
    transform = ClassAxisDWT(
        len(inputs.data.classes),
        **{name: getattr(options, name) for name in names},
        bands="all",
        order=inputs.class_order,
    )
    logits = task.teacher.logits[0, : min(len(task.train), _MOST_IMAGES)]
    return band_energy(torch.from_numpy(np.array(logits)), transform)


def open_distillation_inputs(
    params: Params, recipe: Distill, prepared: Path, teacher: Path, teacher_logits: Path
) -> DistillationInputs:
    """Opens the folders of the prepared data, the teacher and the logit cache, and seeds torch.

    If ``cache_logits.views`` is 0, the task gets a ``LiveTeacher``, else a ``CachedTeacher``.

    Raises:
        FinchError: An input is missing, or was made from other inputs.
    """
    data, cache_params = open_prepared(prepared), params.cache_logits
    train = data.split("train")
    record = read_teacher(teacher, data.fingerprint)
    check_classes(record.classes, data.classes)
    key = cache_key(record.sha256, data, params.views, record.image_size)
    cache = read_cache(teacher_logits, key, cache_params)
    logits = open_logit_cache(teacher_logits, key) if cache_params.views else None
    labelled = None if logits is None else logits[:, : len(train)]
    head = partial(read_head_weights, teacher)
    class_order = order_classes(
        recipe.class_order, train.labels, labelled, classes=data.classes, head=head
    )
    device = prepare_torch(params.run)
    loss = build_loss(recipe, len(data.classes), class_order)
    source: CachedTeacher | LiveTeacher | None = None
    if logits is not None:
        size = data.size_at(recipe.image_size)
        source = CachedTeacher(logits, open_packed_views(teacher_logits, size))
    elif loss.needs_teacher:
        precision = resolve_precision(cache_params.precision, device)
        source = LiveTeacher(load_teacher(teacher, record, device), precision)
    key_inputs = {
        "recipe": recipe.model_dump(),
        "views": params.views.model_dump(),
        "data": data.fingerprint,
        "seed": params.run.seed,
        "teacher": [vars(cache.key), cache.params, cache.sha256, cache.views_sha256],
        "class_order": class_order,
    }
    val = data.split("val", data.size_at(recipe.image_size))
    unlabelled = open_unlabelled(data, recipe, logits)
    task = TrainingTask(recipe, loss, train, val, params.views, source, unlabelled=unlabelled)
    cache_sha256 = hash_file(teacher_logits / "cache.json")
    return DistillationInputs(data, task, device, class_order, key, cache_sha256, key_inputs)
