"""The arrays that training steps read rows of: in the memory of the device, or in files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from finch_runtime.image_size import ImageSize, height_and_width
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import TrainingError
from pipeline.params.root import DataOnDevice
from pipeline.training.prefetcher import Prefetcher
from pipeline.training.task import TrainingTask
from pipeline.training.teacher import CachedTeacher, PlacedTeacher, Teacher
from pipeline.transfers import copy_to_device, take_rows, to_device
from pipeline.views import shrinks

SHARE = 0.5
"""Share of the free memory of a GPU that ``auto`` fills with data; the rest is for training."""


@dataclass(frozen=True)
class StepData:
    """The images, labels and teacher of a training run.

    Where they are does not change a result: all views and logits are the same to the bit.

    Attributes:
        task: Training task, with the arrays in files.
        device: Training device.
        teacher: The teacher of the task, with its arrays on the device if they are placed there.
        placed_images: All images, also those without labels, uint8 on the device; None if they are
            read from files.
        placed_labels: Labels, int64 on the device; None if they are read from files.
    """

    task: TrainingTask
    device: torch.device
    teacher: Teacher | None
    placed_images: Tensor | None = None
    placed_labels: Tensor | None = None

    @property
    def is_placed(self) -> bool:
        """Whether arrays are in the memory of the device."""
        return self.placed_labels is not None

    def start_step(self, view: int, following: Iterable[NDArray[np.int64]]) -> None:
        """Begins a step, and starts to read from files what the step after it needs.

        Args:
            view: View number of the step after it.
            following: The numbers of the images in each of its forward passes.
        """
        if self._packs(self.task.image_size):
            if isinstance(self.teacher, CachedTeacher):
                self._views_in_files.start(view, following)
        elif self.placed_images is None:
            self._images_in_files.start(view, following)

    def images(self, view: int, numbers: NDArray[np.int64]) -> Tensor:
        """Images by number for a view, uint8 [n, height, width, channels], on host or device.

        The numbers are int64 [n], sorted.
        """
        if self.placed_images is None:
            return self._images_in_files.rows(view, numbers)
        return take_rows(self.placed_images, numbers)

    def packed_views(
        self, view: int, numbers: NDArray[np.int64], size: ImageSize | None
    ) -> Tensor | None:
        """Packed views by number, as ``images``; None if there are none of this size."""
        if not self._packs(size):
            return None
        if isinstance(self.teacher, PlacedTeacher):
            return self.teacher.get_views(view, numbers)
        return self._views_in_files.rows(view, numbers)

    def labels(self, numbers: NDArray[np.int64]) -> Tensor:
        """Labels by number of the image, int64 [n], on the device."""
        if self.placed_labels is None:
            return to_device(self.task.train.labels[numbers], self.device)
        return take_rows(self.placed_labels, numbers)

    def _packs(self, size: ImageSize | None) -> bool:
        return self.teacher is not None and self.teacher.packed_size == size is not None

    @cached_property
    def _images_in_files(self) -> Prefetcher:
        return Prefetcher(lambda view, numbers: self.task.images(numbers), self.device)

    @cached_property
    def _views_in_files(self) -> Prefetcher:
        assert isinstance(self.teacher, CachedTeacher)
        return Prefetcher(self.teacher.get_views, self.device)


def open_step_data(
    task: TrainingTask,
    device: torch.device,
    where: DataOnDevice,
    on_remark: Callable[[str], None] = lambda remark: None,
) -> StepData:
    """Copies the data of a training run to the device, or leaves them in files.

    Images that are larger than the views stay in files, since the CPU shrinks them.

    Args:
        task: Training task.
        device: Training device.
        where: ``auto`` copies to a GPU that has the memory, ``always`` to any device.
        on_remark: Called if the memory of the GPU is too small.

    Raises:
        TrainingError: The data do not fit, and ``where`` is ``always``.
    """
    in_files = StepData(task, device, task.teacher)
    if where == "never" or (where == "auto" and device.type != "cuda"):
        return in_files
    arrays = _arrays(task)
    size = sum(part.nbytes for parts in arrays.values() for part in parts)
    if where == "auto":
        free = torch.cuda.mem_get_info(device)[0]
        if size > SHARE * free:
            on_remark(
                f"the data, {_gb(size)}, are read from files: they exceed {SHARE:.0%} of the "
                f"{_gb(free)} that are free on {device}"
            )
            return in_files
    try:
        placed = {name: copy_to_device(parts, device) for name, parts in arrays.items()}
    except torch.OutOfMemoryError:
        raise TrainingError(
            f"run.data_on_device = {where}",
            f"the data, {_gb(size)}, do not fit in the memory of {device}",
            "set it to auto or never",
        ) from None
    teacher = task.teacher
    if isinstance(teacher, CachedTeacher):
        teacher = PlacedTeacher(placed["logits"], placed.get("views"))
    return StepData(task, device, teacher, placed.get("images"), placed["labels"])


def _arrays(task: TrainingTask) -> dict[str, list[NDArray[Any]]]:
    """The arrays to copy, by name; those of a name are concatenated."""
    arrays: dict[str, list[NDArray[Any]]] = {"labels": [task.train.labels]}
    if isinstance(teacher := task.teacher, CachedTeacher):
        arrays["logits"] = [teacher.logits]
        if teacher.views is not None:
            return arrays | {"views": [teacher.views]}  # in place of the images
    others = [] if task.unlabelled is None else [task.unlabelled.images]
    sizes = {task.image_size, None if teacher is None else teacher.image_size}
    packed = task.train.images.shape[1]
    heights = [height_and_width(size)[0] for size in sizes if size is not None]
    if not any(shrinks(packed, height) for height in heights):
        arrays["images"] = [task.train.images, *others]
    return arrays


def _gb(size: float) -> str:
    return f"{size / 1e9:.2f} GB"
