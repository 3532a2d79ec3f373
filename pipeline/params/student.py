"""The student."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from pipeline.params.methods import DIST, DKD, KD, FiGKD, LogitMSE
from pipeline.params.network import ModelName, Network
from pipeline.params.recipe import Recipe
from pipeline.plugins.section import Section


class ClassOrder(Section):
    """The order in which the classes stand along the transform's axis."""

    kind: Literal["index", "similarity", "random", "file"] = Field(
        "index",
        description="As in the data set; look-alikes next to each other (optimal leaf ordering of "
        "what the teacher finds alike); shuffled; or as written in `file`.",
    )
    similarity: Literal["logits", "weights"] = Field(
        "logits",
        description="What tells look-alikes: the teacher's mean logits of the training images of "
        "each class, or the weights of its classifier layer.",
    )
    seed: int = Field(0, ge=0, description="Seed of the random order.")
    file: str | None = Field(
        None,
        description="Path of a UTF-8 text file with one class name a line, for `kind: file`. DVC "
        "does not watch it: after a change run `dvc repro --force distill`.",
    )

    @model_validator(mode="after")
    def _has_a_file(self) -> ClassOrder:
        if (self.kind == "file") != (self.file is not None):
            raise ValueError("`file` and `kind: file` go together")
        return self


class Distill(Network, Recipe):
    """The student."""

    model: ModelName = "mobilenetv2_035"
    method: Literal["figkd", "kd", "dkd", "dist", "logit_mse", "cross_entropy"] = Field(
        "figkd", description="What the student learns from besides the labels."
    )
    class_order: ClassOrder = Field(default_factory=ClassOrder, description="Order of the classes.")
    figkd: FiGKD = Field(default_factory=FiGKD, description="Options of `method: figkd`.")
    kd: KD = Field(default_factory=KD, description="Options of `method: kd`.")
    dkd: DKD = Field(default_factory=DKD, description="Options of `method: dkd`.")
    dist: DIST = Field(default_factory=DIST, description="Options of `method: dist`.")
    logit_mse: LogitMSE = Field(
        default_factory=LogitMSE, description="Options of `method: logit_mse`."
    )

    def changed(self, changes: Mapping[str, Any]) -> Distill:
        """A copy with other values, by key below ``distill`` such as ``figkd.level``.

        Raises:
            ValidationError: A key or value is not allowed.
        """
        raw = self.model_dump()
        for key, value in changes.items():
            *sections, last = key.split(".")
            place = raw
            for name in sections:
                if not isinstance(place.get(name), dict):
                    place[name] = {}
                place = place[name]
            place[last] = value
        return Distill.model_validate(raw)
