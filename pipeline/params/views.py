"""Augmentation."""

from __future__ import annotations

from pydantic import Field

from pipeline.params.section import AboveZero, Fraction, Section


class Views(Section):
    """The recipe that makes a view from (image, view seed)."""

    seed: int = Field(0, ge=0, lt=2**32, description="Seed all view seeds are derived from.")
    crop_scale: AboveZero = Field(
        0.7, le=1, description="Smallest share of the image's area that a crop keeps."
    )
    crop_ratio: float = Field(
        1.2, ge=1, le=4, description="Largest ratio of a crop's longer side to its shorter side."
    )
    horizontal_flip: bool = Field(True, description="Mirror half of the views left to right.")
    vertical_flip: bool = Field(False, description="Mirror half of the views top to bottom.")
    quarter_turns: bool = Field(False, description="Turn views by 0, 90, 180 or 270 degrees.")
    brightness: Fraction = Field(0.2, description="Largest relative change of brightness.")
    contrast: Fraction = Field(0.2, description="Largest relative change of contrast.")
    saturation: Fraction = Field(0.0, description="Largest relative change of saturation.")
    erase: Fraction = Field(0.0, description="Share of views with one rectangle erased.")
