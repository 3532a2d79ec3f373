"""What is trained on, and the environment in which training runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from finch_runtime.image_size import ImageSize, image_size
from numpy.typing import NDArray

from pipeline.data.prepared import Split, select_images
from pipeline.errors import ParameterError, TrainingError
from pipeline.losses import DistillationLoss
from pipeline.params import Recipe, Views
from pipeline.params.root import DataOnDevice
from pipeline.progress import Track, silent
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.distributed import ProcessGroup
from pipeline.training.state import Epoch
from pipeline.training.teacher import CachedTeacher, Teacher
from pipeline.training.unlabelled import UnlabelledImages


@dataclass(frozen=True)
class TrainingTask:
    """Recipe, loss and data of a training run.

    Attributes:
        recipe: Optimizer, schedule, number of epochs.
        loss: Loss function; moved to the training device.
        train: Training split.
        val: Validation split, which selects the best epoch.
        views: Augmentation.
        teacher: Source of the teacher's logits, which selects the view of each epoch. Without it,
            every epoch has a new view.
        indices: Images of ``train`` to train on, int64; None for all.
        unlabelled: Images without labels, which are added to the batches; None for none.
    """

    recipe: Recipe
    loss: DistillationLoss
    train: Split
    val: Split
    views: Views
    teacher: Teacher | None = None
    indices: NDArray[np.int64] | None = None
    unlabelled: UnlabelledImages | None = None

    @property
    def image_size(self) -> ImageSize:
        """Size of the network's input, which the validation images have.

        Views are rendered at this size from the training images, which can be larger.
        """
        return image_size(*self.val.images.shape[1:3])

    def images(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Images by number, uint8 [n, height, width, 3]. The numbers are int64 [n], sorted."""
        images = self.train.images
        others = images[:0] if self.unlabelled is None else self.unlabelled.images
        return select_images(images, others, numbers)

    def part(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Parts the numbers of images, sorted, into those with labels and those without."""
        count = int(np.searchsorted(numbers, len(self.train)))
        return numbers[:count], numbers[count:]

    @property
    def effective_recipe(self) -> Recipe:
        """The recipe with the number of epochs for these images (``Recipe.for_images``)."""
        return self.recipe.for_images(len(self.train if self.indices is None else self.indices))

    def check(self, classes: int) -> None:
        """Checks that loss, teacher, splits and recipe fit a model with this number of classes.

        Raises:
            TrainingError: The loss needs a teacher, or the teacher does not fit the data.
            ParameterError: The recipe mixes images, for which cached logits cannot be used.
        """
        if self.teacher is not None:
            images = len(self.train) + len(self.unlabelled or ())
            self.teacher.check(images, classes)
        elif self.loss.needs_teacher:
            name = type(self.loss).__name__
            raise TrainingError(name, "needs the teacher's logits", "run cache_logits first")
        uses_cache = self.loss.needs_teacher and isinstance(self.teacher, CachedTeacher)
        if not self.recipe.epochs:
            return  # nothing is mixed
        for method in ("mixup", "cutmix"):
            key, alpha = f"{self.recipe.section}.{method}", getattr(self.recipe, method)
            if alpha and uses_cache:
                raise ParameterError(
                    f"{key} = {alpha:g}",
                    "the logit cache has no logits for mixed images",
                    f"set {key} to 0, or cache_logits.views to 0 to run the teacher in every step",
                )


@dataclass(frozen=True)
class TrainingEnvironment:
    """Device, seed, processes, checkpoints and callbacks of a training run.

    Attributes:
        device: Training device.
        seed: Seed of image order, mixing, dropout and loss.
        group: Process group of distributed training.
        check_every: Steps from one check to the next that the losses on a GPU are finite.
        data_on_device: Whether the data are copied to the device, see ``open_step_data``.
        checkpoints: Checkpoints to resume from and to write, if any.
        should_stop: Called after every step; if true, training saves a checkpoint and stops.
        track: Progress bar.
        on_epoch: Called after each epoch.
        on_remark: Called with a remark about the run.
        on_resume: Called on resuming with the finished epochs and the finished steps of the next.
    """

    device: torch.device
    seed: int
    group: ProcessGroup = field(default_factory=ProcessGroup)
    check_every: int = 50
    data_on_device: DataOnDevice = "auto"
    checkpoints: Checkpoints | None = None
    should_stop: Callable[[], bool] = lambda: False
    track: Track = silent
    on_epoch: Callable[[Epoch], None] = lambda epoch: None
    on_remark: Callable[[str], None] = lambda remark: None
    on_resume: Callable[[list[Epoch], int], None] = lambda history, steps: None
