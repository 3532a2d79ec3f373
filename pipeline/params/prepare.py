"""Where photographs come from."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from pipeline.plugins.section import AboveZero, Positive, Section


class Fractions(Section):
    """Shares of the images per split; they add up to 1."""

    train: AboveZero = Field(0.6, description="Share of images to learn from.")
    val: AboveZero = Field(0.2, description="Share of images to choose by.")
    test: AboveZero = Field(0.2, description="Share of images that only `verify` reads.")

    @model_validator(mode="after")
    def _add_up(self) -> Fractions:
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train + val + test add up to {total:g}, they must add up to 1")
        return self


class Typefaces(Section):
    """The photographs of print that `source: typefaces` draws."""

    classes: int = Field(60, ge=2, description="Typefaces to tell apart, family by family.")
    images_per_class: Positive = Field(100, description="Photographs of every typeface.")
    seed: int = Field(0, ge=0, description="Seed of words, colours and camera.")


class Prepare(Section):
    """Where the photographs come from, how they are split and packed."""

    source: Literal[
        "elpv",
        "typefaces",
        "folder",
        "csv",
        "grocery_store",
        "tiny_imagenet",
        "cub200",
        "stanford_dogs",
        "cifar100",
        "fgvc_aircraft",
        "stanford_cars",
        "flowers102",
        "oxford_iiit_pet",
        "food101",
        "gtsrb",
        "eurosat",
    ] = Field(
        "elpv",
        description="`elpv`: solar cells from the PyPI package; `typefaces`: drawn here; `folder`: "
        "one folder per class; `csv`: a table of path, label and optionally split and group; "
        "the others: published sets in their published layout.",
    )
    path: str | None = Field(
        None,
        description="Folder of the source, or the table of `csv`, absolute or from here; "
        "`elpv` and `typefaces` need none.",
    )
    download: bool = Field(
        False,
        description="Let torchvision fetch its sets (cifar100 to eurosat) into `path` when they "
        "are not there.",
    )
    group_by: str | None = Field(
        None,
        description="Regular expression, searched in each photograph's name; photographs with the "
        "same match (its groups, where it has any) stay in one split.",
    )
    typefaces: Typefaces = Field(
        default_factory=Typefaces, description="Options of `source: typefaces`."
    )
    image_size: int = Field(96, ge=16, le=1024, description="Side of the packed images, in pixels.")
    fit: Literal["crop", "stretch"] = Field(
        "crop",
        description="How a photograph becomes square: scale the shorter side and cut the middle, "
        "or stretch both sides.",
    )
    split: Literal["published", "blocks", "random"] = Field(
        "blocks",
        description="`published`: the source's own splits; `blocks`: stratified, neighbours in the "
        "source's order stay together; `random`: stratified, image by image.",
    )
    fractions: Fractions = Field(default_factory=Fractions, description="Shares per split.")
    block: Positive = Field(30, description="Neighbouring images that stay in one split (blocks).")
    seed: int = Field(0, ge=0, description="Seed of the split.")
    on_bad: Literal["fail", "skip"] = Field(
        "fail",
        description="What to do about photographs that cannot be used: stop, or leave them out. "
        "Both list them in reports/audit.json.",
    )
    allow_leakage: bool = Field(
        False, description="Go on although copies of one photograph lie in more than one split."
    )
    near_duplicate_distance: int = Field(
        16,
        ge=0,
        le=64,
        description="Bits, of 256, in which the perceptual hashes of near-duplicates may differ; "
        "0 does not look for them.",
    )
    near_duplicates_together: bool = Field(
        True,
        description="Keep near-duplicates in one split, wherever splits are not as published.",
    )
    workers: int = Field(
        0, ge=0, description="Processes that decode; 0 is one per core. The result is the same."
    )

    @field_validator("group_by")
    @classmethod
    def _is_an_expression(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression ({error})") from None
        return pattern

    @model_validator(mode="after")
    def _has_a_path(self) -> Prepare:
        if self.source not in ("elpv", "typefaces") and not self.path:
            what = "table" if self.source == "csv" else "folder"
            raise ValueError(f"source {self.source!r} needs `path`, the {what} of the photographs")
        if self.source in ("elpv", "typefaces", "eurosat") and self.split == "published":
            raise ValueError(
                f"`split: published` does not go with {self.source}, which publishes no splits"
            )
        return self
