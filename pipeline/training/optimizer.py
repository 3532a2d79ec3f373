"""Optimiser, learning rate and averaged weights of a recipe."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pipeline.params import Recipe


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD or AdamW; biases and the scales of normalization layers are spared weight decay."""
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    spared = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr)
    momentum = recipe.momentum
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=momentum, nesterov=momentum > 0)


def rate_factor(recipe: Recipe, total_steps: int) -> Callable[[int], float]:
    """The learning rate at a step, as a factor of ``recipe.lr``.

    All schedules rise linearly over the warm-up; then ``one_cycle`` and ``cosine`` fall along
    half a cosine, to 1e-4 of the peak and to 0, ``constant`` stays, and ``multi_step`` falls to
    ``recipe.gamma`` times what it was at each of its milestones.
    """
    warmup_steps = recipe.warmup * total_steps
    drops = [round(share * total_steps) for share in recipe.milestones]
    floor = 1e-4 if recipe.schedule == "one_cycle" else 0.0

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        if recipe.schedule == "constant":
            return 1.0
        if recipe.schedule == "multi_step":
            return recipe.gamma ** sum(step >= drop for drop in drops)
        done = (step - warmup_steps) / max(1.0, total_steps - warmup_steps)
        return floor + (1 - floor) * (1 + math.cos(math.pi * min(1.0, done))) / 2

    return factor


def build_average(model: nn.Module, decay: float) -> AveragedModel | None:
    """An exponential moving average of weights and statistics; None when ``decay`` is 0."""
    if not decay:
        return None
    keep = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(model, multi_avg_fn=keep, use_buffers=True)
