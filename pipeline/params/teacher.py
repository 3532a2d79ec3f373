"""The teacher and its answers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline.params.network import FirstWeights, ModelName, Network
from pipeline.params.recipe import Recipe
from pipeline.plugins.section import Positive, Section


class Finetune(Network, Recipe):
    """The teacher."""

    model: ModelName = "tf_efficientnet_lite0"
    pretrained: FirstWeights = "package"
    freeze_epochs: int = Field(
        0,
        ge=0,
        description="Epochs in which only the classifier layer learns, before all layers do.",
    )


class CacheLogits(Section):
    """The teacher's logits on K views of every training image."""

    views: int = Field(
        8,
        ge=0,
        description="K: seeded views per training image; 0 caches nothing, and the teacher runs "
        "live beside the student, on a new view of every image in every epoch.",
    )
    dtype: Literal["float16", "float32"] = Field("float16", description="Type of stored logits.")
    batch_size: Positive = Field(128, description="Views the teacher sees at once.")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "fp32",
        description="Type the teacher computes in, cached or live. `auto` takes bf16 on a CUDA "
        "device that has it, and fp32 elsewhere.",
    )
    pack_views: bool = Field(
        False,
        description="Also keep the views' pixels (K times the training images in size), so that "
        "no student's training makes them again.",
    )

    @model_validator(mode="after")
    def _has_views_to_pack(self) -> CacheLogits:
        if self.pack_views and not self.views:
            raise ValueError("`pack_views` has nothing to pack with `views: 0`")
        return self
