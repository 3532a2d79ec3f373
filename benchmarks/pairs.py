"""Pairs of teacher and student with random weights, on random pixels, to time training steps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from pipeline.data.prepared import Split
from pipeline.losses import DistillationLoss, build_loss
from pipeline.models.classifier import Classifier, build_classifier
from pipeline.params import Distill, Views
from pipeline.training.task import TrainingTask
from pipeline.training.teacher import CachedTeacher, LiveTeacher, Teacher


@dataclass(frozen=True)
class Pair:
    """A teacher, a student and the shape of a batch.

    Attributes:
        teacher: Model name.
        student: Model name.
        size: Height and width of the images in pixels.
        classes: Number of classes.
        batch: Images per step.
        steps: Steps per epoch.
    """

    teacher: str
    student: str
    size: int
    classes: int
    batch: int
    steps: int = 16

    @property
    def name(self) -> str:
        """Networks and batch, for tables."""
        networks = [name.removeprefix("cifar_") for name in (self.teacher, self.student)]
        return f"{' → '.join(networks)}, {self.size} px, batch {self.batch}"

    @cached_property
    def split(self) -> Split:
        """Random images and labels for an epoch."""
        rng, count = np.random.default_rng(0), self.steps * self.batch
        images = rng.integers(0, 256, (count, self.size, self.size, 3), dtype=np.uint8)
        return Split(images, rng.integers(0, self.classes, count))

    def network(self, name: str, device: torch.device) -> Classifier:
        """A network with random weights, in evaluation mode."""
        model = build_classifier(name, tuple(map(str, range(self.classes))), self.size)
        return model.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]

    def recipe(self, **changes: object) -> Distill:
        """FiGKD with a learning rate at which random labels do not diverge."""
        values = {"epochs": 10_000, "batch_size": self.batch, "lr": 0.001, "weight_decay": 1e-4}
        return Distill.model_validate(values | changes)

    def cached(self) -> CachedTeacher:
        """Random logits for one view."""
        logits = np.random.default_rng(1).normal(size=(1, len(self.split), self.classes))
        return CachedTeacher(logits.astype(np.float16))

    def live(self, device: torch.device, precision: torch.dtype = torch.float32) -> LiveTeacher:
        """The teacher, run in every step."""
        return LiveTeacher(self.network(self.teacher, device), precision)

    def figkd(self) -> DistillationLoss:
        """The default loss."""
        return build_loss(self.recipe(), self.classes)

    def task(
        self, recipe: Distill, loss: DistillationLoss, teacher: Teacher | None
    ) -> TrainingTask:
        """A training on the random images; validation is on one image."""
        one = self.split.select(np.arange(1))
        return TrainingTask(recipe, loss, self.split, one, Views(), teacher)
