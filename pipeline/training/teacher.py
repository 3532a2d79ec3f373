"""Sources of the teacher's logits: the logit cache, or the teacher itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from finch_runtime.image_size import ImageSize, image_size
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from pipeline.errors import TrainingError
from pipeline.models.classifier import Classifier
from pipeline.models.ensemble import Ensemble
from pipeline.models.inference import teacher_logits
from pipeline.transfers import take_rows, to_device

Array = TypeVar("Array", NDArray[Any], Tensor)


class Teacher:
    """Source of the teacher's logits.

    Attributes:
        fix: What to do if a logit is not finite.
    """

    fix: ClassVar[str]

    @property
    def image_size(self) -> ImageSize | None:
        """Size of the views that ``get_logits`` needs; None if it needs none."""
        return None

    def check(self, images: int, classes: int) -> None:
        """Checks the number of training images and of classes.

        Raises:
            TrainingError: The logits would have another shape.
        """
        raise NotImplementedError

    @property
    def packed_size(self) -> ImageSize | None:
        """Size of the packed views; None if views are not packed."""
        return None

    def view_of(self, epoch: int) -> int:
        """Index of the view for an epoch, both starting at 0."""
        return epoch

    def get_logits(self, view: int, indices: NDArray[np.int64], pixels: Tensor) -> Tensor:
        """The teacher's logits for a view of the training images with these indices.

        Args:
            view: Index of the view.
            indices: int64 [n].
            pixels: The views, float32 [n, 3, height, width] in 0…1. The size is ``image_size``.

        Returns:
            float32 [n, classes] on the device of ``pixels``, without a gradient.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class StoredTeacher(Teacher, Generic[Array]):
    """Logits that were computed before, for K views; epoch e uses view e modulo K.

    Attributes:
        logits: [K, n, classes].
        views: Packed views, uint8 [K, n, height, width, 3]; if None, training computes the views.
    """

    logits: Array
    views: Array | None = None
    fix: ClassVar[str] = "run cache_logits again"

    @override
    def view_of(self, epoch: int) -> int:
        return epoch % len(self.logits)

    @property
    @override
    def packed_size(self) -> ImageSize | None:
        return None if self.views is None else image_size(*self.views.shape[2:4])


class CachedTeacher(StoredTeacher[NDArray[Any]]):
    """The logit cache, in files or in the memory of the host."""

    @override
    def check(self, images: int, classes: int) -> None:
        found, expected = self.logits.shape[1:], (images, classes)
        if found != expected:
            problem = f"have shape (images, classes) = {found}, training needs {expected}"
            raise TrainingError("the teacher's logits", problem, self.fix)

    def get_views(self, view: int, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Packed views of the images with these numbers, uint8 [n, height, width, 3]."""
        assert self.views is not None
        rows: NDArray[np.uint8] = self.views[view, indices]
        return rows

    @override
    def get_logits(self, view: int, indices: NDArray[np.int64], pixels: Tensor) -> Tensor:
        return to_device(self.logits[view, indices], pixels.device, torch.float32)


class PlacedTeacher(StoredTeacher[Tensor]):
    """A ``CachedTeacher`` whose arrays are in the memory of the training device."""

    def get_views(self, view: int, indices: NDArray[np.int64]) -> Tensor:
        """Packed views of the images with these numbers, uint8 [n, height, width, 3]."""
        assert self.views is not None
        return take_rows(self.views[view], indices)

    @override
    def get_logits(self, view: int, indices: NDArray[np.int64], pixels: Tensor) -> Tensor:
        return take_rows(self.logits[view], indices).float()


@dataclass(frozen=True)
class LiveTeacher(Teacher):
    """The teacher itself, run in every step; every epoch has a new view.

    Its logits equal the cached ones in float32, except with packed views, whose pixels are rounded.

    Attributes:
        model: Teacher, or its networks, in evaluation mode, on the training device.
        precision: Dtype of the teacher's forward pass.
    """

    model: Classifier | Ensemble
    precision: torch.dtype = torch.float32
    fix: ClassVar[str] = "fine-tune the teacher again"

    @property
    @override
    def image_size(self) -> ImageSize:
        return self.model.spec.image_size

    @override
    def check(self, images: int, classes: int) -> None:
        known = len(self.model.spec.classes)
        if known != classes:
            problem = f"has {known} classes, training has {classes}"
            raise TrainingError("the teacher", problem, "fine-tune the teacher on this data")

    @override
    def get_logits(self, view: int, indices: NDArray[np.int64], pixels: Tensor) -> Tensor:
        return teacher_logits(self.model, pixels, self.precision)
