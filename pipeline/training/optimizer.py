"""Optimizer, learning rate schedule, averaged weights and frozen layers of a recipe."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from pipeline.errors import ParameterError
from pipeline.models.classifier import Classifier
from pipeline.params import Recipe
from pipeline.training.averaging import AveragedWeights


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD or AdamW, without weight decay for biases and normalization layers.

    Each parameter group has the key ``lr_factor``: 1 for the classifier layers, and
    ``recipe.backbone_lr`` for the others.

    On CUDA its update is fused. Only the fused one skips a step with infinite fp16 gradients
    without reading from the GPU whether there are some.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    fused = any(p.is_cuda for p in trainable) or None
    parts = {1.0: trainable}
    if recipe.backbone_lr != 1 and isinstance(model, Classifier):
        head = {id(p) for layer in model.head_layers() for p in layer.parameters()}
        parts = {
            1.0: [p for p in trainable if id(p) in head],
            recipe.backbone_lr: [p for p in trainable if id(p) not in head],
        }
    groups = [
        {"params": params, "weight_decay": decay, "lr_factor": factor}
        for factor, part in parts.items()
        for params, decay in (
            ([p for p in part if p.ndim > 1], recipe.weight_decay),
            ([p for p in part if p.ndim <= 1], 0.0),
        )
    ]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr, fused=fused)
    momentum = recipe.momentum
    nesterov = momentum > 0
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=momentum, nesterov=nesterov, fused=fused)


# Not torch.optim.lr_scheduler: LinearLR and CosineAnnealingLR accumulate rounding errors, and
# their state would have to be saved and restored.
def lr_factor(recipe: Recipe, total_steps: int) -> Callable[[int], float]:
    """The learning rate at a step, as a factor of ``recipe.lr``.

    Every schedule begins with a linear warm-up to 1. Then ``one_cycle`` and ``cosine`` follow half
    a cosine, down to 1e-4 and 0; ``constant`` stays at 1; ``multi_step`` multiplies by
    ``recipe.gamma`` at each milestone.
    """
    warmup_steps = recipe.warmup * total_steps
    milestones = [round(fraction * total_steps) for fraction in recipe.milestones]
    floor = 1e-4 if recipe.schedule == "one_cycle" else 0.0

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        if recipe.schedule == "constant":
            return 1.0
        if recipe.schedule == "multi_step":
            return recipe.gamma ** sum(step >= milestone for milestone in milestones)
        progress = (step - warmup_steps) / max(1.0, total_steps - warmup_steps)
        return floor + (1 - floor) * (1 + math.cos(math.pi * min(1.0, progress))) / 2

    return factor


def build_ema(model: nn.Module, decay: float) -> AveragedWeights | None:
    """The average of parameters and buffers; None when ``decay`` is 0."""
    return AveragedWeights(model, decay) if decay else None


def freeze_backbone(model: Classifier) -> None:
    """Makes only the classifier layers trainable; batch norm statistics are frozen too.

    Raises:
        ParameterError: The model has no classifier layer with weights.
    """
    heads = nn.ModuleList(model.head_layers())
    if not list(heads.parameters()):
        problem = "has no classifier layer that can be trained alone"
        name, remedy = f"model {model.spec.architecture!r}", "set finetune.freeze_epochs to 0"
        raise ParameterError(name, problem, remedy)
    model.requires_grad_(False)
    model.eval()
    heads.requires_grad_(True)
    heads.train()
