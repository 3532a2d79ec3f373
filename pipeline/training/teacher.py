"""The teacher as training sees it: cached, or running live beside the student."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import TrainingError
from pipeline.models.classifier import Classifier
from pipeline.models.inference import teacher_logits


class Teacher(Protocol):
    """Answers the views that training shows.

    Attributes:
        remedy: What to do about answers that are not finite.
    """

    remedy: ClassVar[str]

    def check(self, images: int, classes: int) -> None:
        """Holds the teacher to the number of images and of classes that training has.

        Raises:
            TrainingError: It knows others.
        """
        ...

    def view_of(self, epoch: int) -> int:
        """The view that an epoch, counted from 0, shows."""
        ...

    def packed(self, view: int, places: NDArray[np.int64]) -> NDArray[np.uint8] | None:
        """The view of the images at some places, uint8 [n, size, size, 3]; None to make it anew."""
        ...

    def answer(self, view: int, places: NDArray[np.int64], pixels: Tensor) -> Tensor:
        """The teacher's logits on the view of the images at some places.

        Args:
            view: Number of the view.
            places: int64 [n], of the images in their split.
            pixels: float32 [n, 3, size, size] in 0…1, what the student sees.

        Returns:
            float32 [n, classes], where the pixels are, without a gradient.
        """
        ...


@dataclass(frozen=True)
class CachedTeacher:
    """Was asked once, by ``cache_logits``; epoch e shows view e modulo K.

    Attributes:
        logits: [K, n, classes], on view k of image i.
        pixels: uint8 [K, n, size, size, 3], the views themselves where they have been packed;
            training makes them again where they have not.
    """

    logits: NDArray[np.floating]
    pixels: NDArray[np.uint8] | None = None
    remedy: ClassVar[str] = "run cache_logits again"

    def check(self, images: int, classes: int) -> None:
        """See ``Teacher``."""
        if self.logits.shape[1:] != (images, classes):
            raise TrainingError(
                "the teacher's logits",
                f"are for (images, classes) {self.logits.shape[1:]}, training has "
                f"{(images, classes)}",
                self.remedy,
            )

    def view_of(self, epoch: int) -> int:
        """See ``Teacher``."""
        return epoch % len(self.logits)

    def packed(self, view: int, places: NDArray[np.int64]) -> NDArray[np.uint8] | None:
        """See ``Teacher``."""
        return None if self.pixels is None else self.pixels[view, places]

    def answer(self, view: int, places: NDArray[np.int64], pixels: Tensor) -> Tensor:
        """What it said of these views; the pixels are theirs."""
        return torch.from_numpy(np.asarray(self.logits[view, places], np.float32)).to(pixels.device)


@dataclass(frozen=True)
class LiveTeacher:
    """Is asked at every step; every epoch shows a new view.

    Its answers are those that ``cache_logits`` would have cached: the same function, computed in
    the same type, of the same pixels. (Of packed views it would have seen the rounded pixels.)

    Attributes:
        model: In evaluation mode, where training runs.
        precision: What it computes in, whatever the student learns in.
    """

    model: Classifier
    precision: torch.dtype = torch.float32
    remedy: ClassVar[str] = "fine-tune the teacher again"

    def check(self, images: int, classes: int) -> None:
        """See ``Teacher``; it answers any images."""
        known = len(self.model.spec.classes)
        if known != classes:
            raise TrainingError(
                "the teacher",
                f"knows {known} classes, training has {classes}",
                "fine-tune the teacher on this data",
            )

    def view_of(self, epoch: int) -> int:
        """See ``Teacher``."""
        return epoch

    def packed(self, view: int, places: NDArray[np.int64]) -> NDArray[np.uint8] | None:
        """See ``Teacher``; it keeps nothing."""
        return None

    def answer(self, view: int, places: NDArray[np.int64], pixels: Tensor) -> Tensor:
        """What it says of these pixels."""
        return teacher_logits(self.model, pixels, self.precision)
