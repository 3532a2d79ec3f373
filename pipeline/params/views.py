"""Data augmentation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.plugins.section import Fraction, Section, Seed


class Views(Section):
    """Data augmentation; a view is a pure function of (image, view number, seed)."""

    seed: Seed = Field(0, description="Seed of all views.")
    crop_scale: float = Field(
        0.7, gt=0, le=1, description="Minimum fraction of the image's area in a random crop."
    )
    crop_ratio: float = Field(
        1.2, ge=1, le=4, description="Maximum ratio of a crop's longer side to its shorter side."
    )
    horizontal_flip: bool = Field(True, description="Flip left to right with probability 0.5.")
    vertical_flip: bool = Field(False, description="Flip top to bottom with probability 0.5.")
    quarter_turns: bool = Field(False, description="Rotate by 0, 90, 180 or 270 degrees.")
    brightness: Fraction = Field(0.2, description="Maximum relative change of brightness.")
    contrast: Fraction = Field(0.2, description="Maximum relative change of contrast.")
    saturation: Fraction = Field(0.0, description="Maximum relative change of saturation.")
    hue: float = Field(
        0.0, ge=0, le=0.5, description="Maximum shift of the hue; 1 is the full circle."
    )
    auto: Literal["none", "trivial", "rand"] = Field(
        "none",
        description="`trivial`: TrivialAugment, one operation of random magnitude; `rand`: "
        "RandAugment, `auto_ops` operations of one magnitude.",
    )
    auto_ops: int = Field(2, ge=1, le=32, description="Number of operations of `auto: rand`.")
    auto_magnitude: int = Field(
        9, ge=0, le=30, description="Magnitude of the operations of `auto: rand`."
    )
    erase: Fraction = Field(0.0, description="Probability of random erasing.")
