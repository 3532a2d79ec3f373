"""What a runtime offers to the ladder: one int8 candidate with any of its layers in float."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from pipeline.quantize.layers import Layer


class Variants(Protocol):
    """A static int8 candidate, calibrated once for every set of layers that stay in float."""

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that int8 has, in the order in which they run."""
        ...

    def write(self, folder: Path, in_float: Collection[str] = ()) -> Path:
        """Writes one variant.

        Args:
            folder: Where to write; to be renamed or thrown away as a whole.
            in_float: Names of the layers that stay in float.

        Returns:
            The file that the runtime opens.
        """
        ...
