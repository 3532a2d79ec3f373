"""The student: network, recipe and loss."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, Self

from pydantic import Field, create_model, field_validator, model_validator

from pipeline.errors import ParameterError, one_of
from pipeline.params.network import ModelName
from pipeline.params.trained_network import TrainedNetwork
from pipeline.plugins import LOSSES
from pipeline.plugins.options import options_of
from pipeline.plugins.section import Fraction, LocalText, Section, Seed


class ClassOrder(Section):
    """The order of the classes along the axis of the wavelet transform."""

    kind: Literal["index", "similarity", "random", "file"] = Field(
        "index",
        description="`index`: order of the dataset; `similarity`: similar classes are neighbors "
        "(optimal leaf ordering); `random`; `file`: the order in `file`.",
    )
    similarity: Literal["logits", "weights"] = Field(
        "logits",
        description="Similarity of two classes: by the teacher's mean logits on their training "
        "images, or by the weights of its classifier layer.",
    )
    seed: Seed = Field(0, description="Seed of the random order.")
    file: LocalText | None = Field(
        None,
        description="Path of a UTF-8 text file with one class name per line, for `kind: file`. "
        "After a change of the file, `dvc repro` runs `distill` again.",
    )

    @model_validator(mode="after")
    def _has_a_file(self) -> Self:
        if (self.kind == "file") != (self.file is not None):
            raise ValueError("set `file` if and only if `kind` is file")
        return self


class Unlabelled(Section):
    """Images without labels in the batches of the student (docs/unlabelled.md)."""

    ratio: float = Field(
        1.0,
        ge=0,
        le=100,
        description="Images without labels per image with a label in a batch; 0 uses none.",
    )
    min_confidence: Fraction = Field(
        0.0,
        description="Images without labels are left out if the teacher's largest class "
        "probability, the mean over the cached views, is lower.",
    )


class Distill(TrainedNetwork):
    """The student.

    ``distill_model()`` adds the sections of the registered methods; this class serves annotations.
    """

    model: ModelName = "mobilenetv2_035"
    method: str = Field(
        "figkd", description="Loss of the student, as registered in pipeline/losses."
    )
    class_order: ClassOrder = Field(default_factory=ClassOrder, description="Order of the classes.")
    unlabelled: Unlabelled = Field(
        default_factory=Unlabelled, description="Images without labels, see `prepare.unlabelled`."
    )

    @field_validator("method")
    @classmethod
    def _known_method(cls, name: str) -> str:
        return one_of(name, LOSSES.names(), LOSSES.kind)

    @property
    def loss_options(self) -> Section:
        """The options of ``method``."""
        options: Section = getattr(self, self.method, Section())
        return options

    def check_unlabelled(self) -> None:
        """Checks that the student can learn from images without labels.

        Raises:
            ParameterError: The loss has no term for them.
        """
        if not (self.epochs and self.unlabelled.ratio) or _takes_unlabelled(self.method):
            return
        others = [name for name in LOSSES.names() if _takes_unlabelled(name)]
        raise ParameterError(
            f"distill.method = {self.method}",
            "learns nothing from images without labels",
            f"set it to one of {', '.join(others)}, or distill.unlabelled.ratio to 0",
        )

    def changed(self, changes: Mapping[str, Any]) -> Self:
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
        return type(self).model_validate(raw)


def _takes_unlabelled(method: str) -> bool:
    loss = LOSSES[method]
    return loss.needs_teacher and not loss.needs_labels


@cache
def distill_model() -> type[Distill]:
    """``Distill`` with one section per registered method that has options.

    Raises:
        TypeError: An option of a method has no default or description, or the method's name is
            that of another parameter of the student.
    """
    method = copy.copy(Distill.model_fields["method"])
    method.json_schema_extra = {"enum": list(LOSSES.names())}
    fields: dict[str, Any] = {"method": (str, method)}
    for name in LOSSES.names():
        if name in Distill.model_fields:
            raise TypeError(f"method {name!r}: distill.{name} is a parameter; rename the method")
        options = options_of(LOSSES[name], name, exclude=("class_order", "label_smoothing"))
        if options.model_fields:
            section = Field(default_factory=options, description=f"Options of `method: {name}`.")
            fields[name] = (options, section)
    return create_model("Distill", __base__=Distill, __doc__="The student.", **fields)
