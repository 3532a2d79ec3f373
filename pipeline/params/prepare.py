"""Data source, splits and packing."""

from __future__ import annotations

import copy
import re
from functools import cache
from typing import Any, Literal

from finch_runtime.image_size import ImageSize
from pydantic import Field, create_model, field_validator, model_validator

from pipeline.aspect_ratio import size_of_height
from pipeline.errors import one_of
from pipeline.plugins import SOURCES
from pipeline.plugins.options import options_of
from pipeline.plugins.section import LocalText, PositiveFloat, PositiveInt, Section, Seed

GROUP_WORDS = ("capture_day", "camera", "folder")
"""Values of ``prepare.group_by`` that are no regular expressions."""


class Fractions(Section):
    """Fractions of the images per split; they add up to 1."""

    train: PositiveFloat = Field(0.6, description="Fraction of images for training.")
    val: PositiveFloat = Field(0.2, description="Fraction of images for validation.")
    test: PositiveFloat = Field(0.2, description="Fraction of images for the test split.")

    @model_validator(mode="after")
    def _add_up(self) -> Fractions:
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train + val + test = {total:g}, must be 1")
        return self


class Prepare(Section):
    """Data source, splits and packing.

    The type for annotations; ``prepare_model`` adds the options of all registered sources.
    """

    source: str = Field(
        "elpv",
        description="Data source, as registered in pipeline/data/sources (docs/data_sources.md).",
    )
    path: LocalText | None = Field(
        None,
        description="Folder of the source, or the table of `csv`, absolute or relative to the "
        "working directory. `elpv` and `typefaces` need none.",
    )
    download: bool = Field(
        False, description="Let torchvision download its data sets to `path` if they are missing."
    )
    unlabelled: LocalText | None = Field(
        None,
        description="Folder of images without labels, at any depth, from which the student learns "
        "the teacher's answers (docs/unlabelled.md).",
    )
    group_by: LocalText | None = Field(
        None,
        description="Images that are kept in one split: `capture_day` and `camera`, those with the "
        "same day or camera in their EXIF data; `folder`, those in one folder below the class; or "
        "a regular expression, searched in every image's name: those with the same match (its "
        "capture groups, if any).",
    )
    image_size: int = Field(
        96,
        ge=16,
        le=1024,
        description="Height of the packed images in pixels, and their width if they are square. "
        "Those of a larger `finetune.image_size` or `distill.image_size` are packed instead, and "
        "views are rendered from them (docs/image_sizes.md).",
    )
    aspect_ratio: float = Field(
        1.0,
        ge=0.25,
        le=4,
        description="Width of all images divided by their height, such as 1.5 for 3:2 or 1.7778 "
        "for 16:9; 1 is square. The width of an image is the nearest whole number of pixels "
        "(docs/image_sizes.md).",
    )
    fit: Literal["crop", "stretch", "pad"] = Field(
        "crop",
        description="How an image gets the shape of the input: `crop` crops the center and resizes "
        "it; `stretch` resizes both sides separately; `pad` resizes the whole image and adds gray "
        "bars (docs/data.md).",
    )
    channels: Literal[3, 1] = Field(
        3,
        description="Channels of the images that all networks see: 3 is RGB, 1 is gray, for "
        "cameras without color (docs/image_sizes.md).",
    )
    split: Literal["auto", "published", "blocks", "random"] = Field(
        "auto",
        description="`published`: the splits of the source, such as its split folders; `blocks`: "
        "stratified, and neighbors in the order of the source are kept together; `random`: "
        "stratified, image by image; `auto`: `published` if the source has splits, else `blocks`. "
        "Splits for validation and test that a source lacks are taken from its training split.",
    )
    fractions: Fractions = Field(default_factory=Fractions, description="Fractions per split.")
    block: PositiveInt = Field(
        30, description="Number of neighboring images per block, where images are split by blocks."
    )
    seed: Seed = Field(0, description="Seed of the split.")
    on_bad: Literal["fail", "skip"] = Field(
        "fail",
        description="Unusable images: fail, or skip them. They are listed in reports/audit.json in "
        "both cases. Images without labels that show a validation or test image are unusable.",
    )
    max_loss: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Fraction of the image files of a class that may be lost, because their format "
        "is not read, or because they are skipped by `on_bad: skip`.",
    )
    allow_leakage: bool = Field(
        False, description="Accept copies of one image in more than one split."
    )
    near_duplicate_distance: int = Field(
        16,
        ge=0,
        le=64,
        description="Maximum Hamming distance between the perceptual hashes (256 bits) of "
        "near-duplicates; 0 disables the search.",
    )
    near_duplicates_together: bool = Field(
        True, description="Keep near-duplicates in one split, except in published splits."
    )
    workers: int = Field(
        0,
        ge=0,
        le=1024,
        description="Processes that decode images; 0 is one per core. No effect on the result.",
    )

    @field_validator("source")
    @classmethod
    def _is_registered(cls, name: str) -> str:
        return one_of(name, SOURCES.names(), "data source")

    @field_validator("group_by")
    @classmethod
    def _is_word_or_regular_expression(cls, value: str | None) -> str | None:
        if value is None or value in GROUP_WORDS:
            return value
        # Every match of a plain word is the same, so that all images would be one group.
        if re.fullmatch(r"[\w -]*", value):
            return one_of(value, GROUP_WORDS, "group, and too plain for a regular expression")
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"{value!r} is not a regular expression ({error})") from None
        return value

    def size_at(self, height: int | None) -> ImageSize:
        """The size of images with this height in pixels; None is ``image_size``."""
        return size_of_height(height or self.image_size, self.aspect_ratio)

    @property
    def has_unlabelled(self) -> bool:
        """Whether there can be images without labels."""
        options = getattr(self, self.source, None)
        in_table = getattr(options, "empty_labels", "fail") == "unlabelled"
        return in_table or self.unlabelled is not None

    @model_validator(mode="after")
    def _fits_source(self) -> Prepare:
        source = SOURCES[self.source]
        if source.path_kind and not self.path:
            raise ValueError(
                f"source {self.source!r} needs `path`, the {source.path_kind} of the images"
            )
        if self.split == "published" and not source.publishes_splits:
            raise ValueError(
                f"source {self.source!r} publishes no splits; set `split` to auto, blocks or random"
            )
        return self


@cache
def prepare_model() -> type[Prepare]:
    """``Prepare`` with a section for every registered source that has options."""
    source = copy.copy(Prepare.model_fields["source"])
    source.json_schema_extra = {"enum": list(SOURCES.names())}
    fields: dict[str, Any] = {"source": (str, source)}
    for name in SOURCES.names():
        options = options_of(SOURCES[name], name)
        if options.model_fields:
            section = Field(default_factory=options, description=f"Options of `source: {name}`.")
            fields[name] = (options, section)
    return create_model("Prepare", __base__=Prepare, __doc__=Prepare.__doc__, **fields)
