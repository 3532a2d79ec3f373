"""Augmentation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.plugins.section import AboveZero, Fraction, Positive, Section


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
    hue: float = Field(
        0.0, ge=0, le=0.5, description="Largest turn of the hue, 1 being once around the circle."
    )
    auto: Literal["none", "trivial", "rand"] = Field(
        "none",
        description="Operations from a list besides: one of any strength (TrivialAugment), or "
        "`auto_ops` of one strength (RandAugment).",
    )
    auto_ops: Positive = Field(2, description="Operations of `auto: rand`, one after the other.")
    auto_magnitude: int = Field(
        9, ge=0, le=30, description="Strength of the operations of `auto: rand`."
    )
    erase: Fraction = Field(0.0, description="Share of views with one rectangle erased.")
