"""What is trained on, and the environment that training runs in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.data.prepared import Split
from pipeline.errors import ParameterError, TrainingError
from pipeline.losses import DistillationLoss
from pipeline.params import Recipe, Views
from pipeline.progress import Track, silent
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.distributed import ProcessGroup
from pipeline.training.state import Epoch
from pipeline.training.teacher import CachedTeacher, Teacher


@dataclass(frozen=True)
class TrainingTask:
    """What a model is trained on, and how.

    Attributes:
        recipe: Optimizer, schedule, epochs.
        loss: Loss function; moved to the training device.
        train: Training split.
        val: Validation split, which selects the best epoch.
        views: Augmentation.
        teacher: Source of the teacher's logits; also decides which view an epoch trains on.
            Without it every epoch trains on a new view.
        indices: Images of ``train`` to train on, int64; all of them when None.
        freeze_epochs: Epochs in which only the classifier layer is trained.
    """

    recipe: Recipe
    loss: DistillationLoss
    train: Split
    val: Split
    views: Views
    teacher: Teacher | None = None
    indices: NDArray[np.int64] | None = None
    freeze_epochs: int = 0

    def check(self, classes: int) -> None:
        """Checks that loss, teacher, splits and recipe go together.

        Args:
            classes: Number of classes of the model.

        Raises:
            TrainingError: The loss needs a teacher, or the teacher does not fit the data.
            ParameterError: The recipe mixes images, whose logits no cache can hold.
        """
        if self.teacher is not None:
            self.teacher.check(len(self.train), classes)
        elif self.loss.needs_teacher:
            name = type(self.loss).__name__
            raise TrainingError(name, "needs the teacher's logits", "run cache_logits first")
        section = self.recipe.section
        for method in ("mixup", "cutmix"):
            alpha = getattr(self.recipe, method)
            if alpha and self.loss.needs_teacher and isinstance(self.teacher, CachedTeacher):
                raise ParameterError(
                    f"{section}.{method} = {alpha:g}",
                    "the logit cache has no logits of mixed images",
                    "set cache_logits.views to 0, so that the teacher runs during training, or "
                    f"set {section}.{method} to 0",
                )


@dataclass(frozen=True)
class TrainingEnvironment:
    """Where and under whose control training runs.

    Attributes:
        device: Training device.
        seed: Seed of the order of the images, of their mixing, and of layers and loss.
        group: Processes that train together.
        checkpoints: Checkpoints to resume from and to write; none when None.
        should_stop: Called after every step; if true, training saves a checkpoint and stops.
        track: Progress bar.
        on_epoch: Called after each epoch.
        on_resume: Called on resuming, with the finished epochs and steps of the next one.
    """

    device: torch.device
    seed: int
    group: ProcessGroup = field(default_factory=ProcessGroup)
    checkpoints: Checkpoints | None = None
    should_stop: Callable[[], bool] = lambda: False
    track: Track = silent
    on_epoch: Callable[[Epoch], None] = lambda epoch: None
    on_resume: Callable[[list[Epoch], int], None] = lambda history, steps: None
