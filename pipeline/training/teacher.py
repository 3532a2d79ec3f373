"""Where training gets the teacher's logits from: the logit cache, or the live teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from pipeline.errors import TrainingError
from pipeline.models.classifier import Classifier
from pipeline.models.inference import teacher_logits


class Teacher:
    """Source of the teacher's logits.

    Attributes:
        fix: Remedy for logits that are not finite.
    """

    fix: ClassVar[str]

    def check(self, images: int, classes: int) -> None:
        """Checks the number of training images and of classes.

        Raises:
            TrainingError: The teacher has other numbers.
        """
        raise NotImplementedError

    def view_of(self, epoch: int) -> int:
        """The index of the view that an epoch, counted from 0, trains on."""
        return epoch

    def get_views(self, view: int, indices: NDArray[np.int64]) -> NDArray[np.uint8] | None:
        """Packed views of images, uint8 [n, size, size, 3]; None when they are not packed."""
        return None

    def get_logits(self, view: int, indices: NDArray[np.int64], pixels: Tensor) -> Tensor:
        """The teacher's logits on a view of images.

        Args:
            view: Index of the view.
            indices: Indices of the images in the training split, int64 [n].
            pixels: The student's input, float32 [n, 3, size, size] in 0…1.

        Returns:
            float32 [n, classes] on the device of ``pixels``, without a gradient.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class CachedTeacher(Teacher):
    """The logit cache; epoch e trains on view e modulo K.

    Attributes:
        logits: [K, n, classes].
        views: Packed views, uint8 [K, n, size, size, 3]; training makes the views again when None.
    """

    logits: NDArray[np.floating]
    views: NDArray[np.uint8] | None = None
    fix: ClassVar[str] = "run cache_logits again"

    @override
    def check(self, images: int, classes: int) -> None:
        if self.logits.shape[1:] != (images, classes):
            raise TrainingError(
                "the teacher's logits",
                f"have shape (images, classes) = {self.logits.shape[1:]}, training needs "
                f"{(images, classes)}",
                self.fix,
            )

    @override
    def view_of(self, epoch: int) -> int:
        return epoch % len(self.logits)

    @override
    def get_views(self, view: int, indices: NDArray[np.int64]) -> NDArray[np.uint8] | None:
        return None if self.views is None else self.views[view, indices]

    @override
    def get_logits(self, view: int, indices: NDArray[np.int64], pixels: Tensor) -> Tensor:
        logits = np.asarray(self.logits[view, indices], np.float32)
        return torch.from_numpy(logits).to(pixels.device)


@dataclass(frozen=True)
class LiveTeacher(Teacher):
    """The teacher itself, run at every step; every epoch trains on a new view.

    Its logits equal those that ``cache_logits`` caches: the same function, pixels and precision.
    (With packed views the cache is computed from rounded pixels.)

    Attributes:
        model: Teacher in evaluation mode, on the training device.
        precision: Dtype of the teacher, independent of the student's.
    """

    model: Classifier
    precision: torch.dtype = torch.float32
    fix: ClassVar[str] = "fine-tune the teacher again"

    @override
    def check(self, images: int, classes: int) -> None:
        known = len(self.model.spec.classes)
        if known != classes:
            raise TrainingError(
                "the teacher",
                f"has {known} classes, training has {classes}",
                "fine-tune the teacher on this data",
            )

    @override
    def get_logits(self, view: int, indices: NDArray[np.int64], pixels: Tensor) -> Tensor:
        return teacher_logits(self.model, pixels, self.precision)
