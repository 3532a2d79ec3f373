"""Options of the command, for its parts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Settings:
    """Options of the command.

    Attributes:
        folder: Folder of the results, absolute.
        device_type: ``cuda`` or ``cpu``.
        tiny: Everything in miniature, to test the command itself.
    """

    folder: Path
    device_type: str
    tiny: bool

    @property
    def device(self) -> torch.device:
        """The device under test."""
        return torch.device(self.device_type)

    @property
    def on_gpu(self) -> bool:
        """Whether the targets for speed apply."""
        return self.device_type == "cuda" and not self.tiny
