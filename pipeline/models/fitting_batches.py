"""Inference in batches that fit in the memory of a GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

Result = TypeVar("Result")


@dataclass
class FittingBatches:
    """Calls a function on batches, and halves them whenever the GPU runs out of memory.

    Only for functions whose result for an image does not depend on the others, such as a network in
    evaluation mode.

    Attributes:
        size: Largest number of images in a batch. It remains halved for later calls, so that each
            size is tried once.

    Example:
        >>> batches = FittingBatches(128)
        >>> logits = torch.cat(batches.run(lambda rows: model(pixels[rows]), len(pixels)))
    """

    size: int

    def run(self, function: Callable[[slice], Result], count: int) -> list[Result]:
        """The results of ``function`` for consecutive slices, which together are 0 to ``count``.

        Raises:
            torch.OutOfMemoryError: A batch of one image does not fit.
        """
        results: list[Result] = []
        start = 0
        while start < count:
            size = min(self.size, count - start)
            try:
                results.append(function(slice(start, start + size)))
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
                self.size = size // 2
            else:
                start += size
        return results
