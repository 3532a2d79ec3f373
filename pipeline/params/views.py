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
        1.2,
        ge=1,
        le=4,
        description="Maximum ratio of a crop's longer side to its shorter side, relative to that "
        "of the image.",
    )
    horizontal_flip: bool = Field(True, description="Flip left to right with probability 0.5.")
    vertical_flip: bool = Field(False, description="Flip top to bottom with probability 0.5.")
    quarter_turns: bool = Field(
        False, description="Rotate by 0, 90, 180 or 270 degrees; only square images."
    )
    rotate: float = Field(
        0.0, ge=0, le=180, description="Maximum rotation in degrees, in both directions."
    )
    # From 0.5, the four corners can lie on a line.
    perspective: float = Field(
        0.0,
        ge=0,
        le=0.4,
        description="Maximum move of each corner of a crop in x and y, as a fraction of half its "
        "side.",
    )
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
    shadow: Fraction = Field(
        0.0,
        description="Maximum fraction of the light that is missing on one side of a soft line, in "
        "half of the views.",
    )
    defocus: float = Field(
        0.0,
        ge=0,
        le=0.1,
        description="Maximum radius of defocus blur, as a fraction of the image's shorter side, in "
        "half of the views.",
    )
    motion_blur: float = Field(
        0.0,
        ge=0,
        le=0.2,
        description="Maximum length of motion blur, as a fraction of the image's shorter side, in "
        "half of the views.",
    )
    noise: Fraction = Field(
        0.0,
        description="Maximum standard deviation of Gaussian noise, for pixels in 0…1, in half of "
        "the views.",
    )
    jpeg_quality: int = Field(
        100,
        ge=1,
        le=100,
        description="Minimum quality of JPEG compression, in half of the views; 100 disables it.",
    )

    @property
    def warps(self) -> bool:
        """Whether views are rotated by small angles or change their perspective."""
        return bool(self.rotate or self.perspective)

    @property
    def imitates_the_field(self) -> bool:
        """Whether views have variations of handheld cameras beyond crops, flips and colors."""
        by_camera = self.shadow or self.defocus or self.motion_blur or self.noise
        return bool(self.warps or by_camera or self.jpeg_quality < 100)
