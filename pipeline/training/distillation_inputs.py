"""What a student learns from: the data, the teacher's answers, and what a step minimises."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pipeline import losses
from pipeline.data.prepared import PreparedData, Split, open_prepared
from pipeline.files import read_json
from pipeline.logit_cache import (
    CacheKey,
    cache_key,
    check_classes,
    open_logit_cache,
    open_packed_views,
    read_cache,
)
from pipeline.losses import Objective
from pipeline.losses.figkd.class_order import order_classes
from pipeline.models.classifier import load_classifier
from pipeline.models.head import read_head_weights
from pipeline.params import Distill, Params
from pipeline.training.device import prepare_torch
from pipeline.training.precision import resolve_precision
from pipeline.training.teacher import CachedTeacher, LiveTeacher


@dataclass(frozen=True)
class DistillationInputs:
    """What a student learns from.

    Attributes:
        data: The prepared splits.
        train: Images and labels to learn from.
        val: Images and labels to choose by.
        device: Where to train.
        order: The class at each place of the wavelet transform's axis.
        objective: What a step minimises.
        teacher: Cached, or live where the objective needs one that is not cached.
        cache: What the logit cache was made from.
        facts: JSON values that what is learned follows from, for a checkpoint's key.
    """

    data: PreparedData
    train: Split
    val: Split
    device: torch.device
    order: list[int]
    objective: Objective
    teacher: CachedTeacher | LiveTeacher | None
    cache: CacheKey
    facts: dict[str, Any]


def open_distillation_inputs(
    params: Params, recipe: Distill, *, prepared: Path, teacher_folder: Path, teacher_logits: Path
) -> DistillationInputs:
    """Opens all of it, and seeds torch.

    Args:
        params: All parameters.
        recipe: How the student learns.

    Raises:
        FinchError: Something is missing, or was made from something else.
    """
    run, views, answers = params.run, params.views, params.cache_logits
    data = open_prepared(prepared)
    train, val = data.split("train"), data.split("val")
    about = read_json(teacher_folder / "model.json")
    check_classes(about["classes"], data.classes)
    key = cache_key(about["weights_sha256"], data, views)
    cache = read_cache(teacher_logits, key, answers.views)
    logits = open_logit_cache(teacher_logits, key) if answers.views else None
    order = order_classes(
        recipe.class_order,
        train.labels,
        logits,
        classes=data.classes,
        head=partial(read_head_weights, teacher_folder),
    )
    device = prepare_torch(run)
    objective = losses.build(recipe, len(data.classes), order)
    teacher: CachedTeacher | LiveTeacher | None = None
    if logits is not None:
        teacher = CachedTeacher(logits, open_packed_views(teacher_logits))
    elif objective.needs_teacher:
        precision = resolve_precision(answers.precision, device)
        teacher = LiveTeacher(load_classifier(teacher_folder, device)[0], precision)
    facts = {
        "recipe": recipe.model_dump(),
        "views": views.model_dump(),
        "data": data.fingerprint,
        "seed": run.seed,
        "teacher": [cache["key"], cache["sha256"], cache["views_sha256"], answers.precision],
        "class_order": order,
    }
    return DistillationInputs(data, train, val, device, order, objective, teacher, key, facts)
