"""Inference in batches that fit in the memory of a GPU, and what to say if one image does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from pipeline.errors import TrainingError, one_line

Result = TypeVar("Result")


@dataclass
class FittingBatches:
    """Calls a function on batches, and halves them whenever the GPU runs out of memory.

    Only for functions whose result for an image does not depend on the others, such as a network in
    evaluation mode.

    Attributes:
        name: Name of the network, for messages.
        device: Device of the network, for messages.
        size: Largest number of images in a batch. It remains halved for later calls, so that each
            size is tried once.

    Example:
        >>> batches = FittingBatches("the teacher", torch.device("cuda"), 128)
        >>> logits = torch.cat(batches.run(lambda rows: model(pixels[rows]), len(pixels)))
    """

    name: str
    device: torch.device
    size: int

    def run(self, function: Callable[[slice], Result], count: int) -> list[Result]:
        """The results of ``function`` for consecutive slices, which together are 0 to ``count``.

        Raises:
            TrainingError: A batch of one image does not fit.
        """
        results: list[Result] = []
        start = 0
        while start < count:
            size = min(self.size, count - start)
            try:
                results.append(function(slice(start, start + size)))
            except torch.OutOfMemoryError as error:
                if size == 1:
                    raise TrainingError(
                        self.name,
                        f"does not fit in the memory of {self.device} with one image "
                        f"({requested_memory(error)})",
                        "end other processes on the GPU, or set run.device to cpu",
                    ) from None
                self.size = size // 2
            else:
                start += size
        return results


def requested_memory(error: torch.OutOfMemoryError) -> str:
    """What torch says of sizes: how much it tried to allocate, and how much the GPU has."""
    sentences = [part.rstrip(".") for part in one_line(error).split(". ")]
    return "; ".join(sentences[1:3] or sentences)
