"""The teacher and its answers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.params.network import FirstWeights, ModelName, Network
from pipeline.params.recipe import Recipe
from pipeline.params.section import Positive, Section


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

    views: Positive = Field(8, description="K: seeded views per training image.")
    dtype: Literal["float16", "float32"] = Field("float16", description="Type of stored logits.")
    batch_size: Positive = Field(128, description="Views the teacher sees at once.")
    pack_views: bool = Field(
        False,
        description="Also keep the views' pixels (K times the training images in size), so that "
        "no student's training makes them again.",
    )
