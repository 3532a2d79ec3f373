"""Parameters of the teacher and of the logit cache."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from pipeline.params.network import ModelName, Pretrained
from pipeline.params.trained_network import TrainedNetwork
from pipeline.plugins.section import PositiveInt, Section


class Finetune(TrainedNetwork):
    """The teacher."""

    model: ModelName = "tf_efficientnet_lite0"
    pretrained: Pretrained = "package"
    freeze_epochs: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Initial epochs in which only the classifier layer is trained.",
    )


class CacheLogits(Section):
    """The teacher's logits for K views of every training image."""

    # Within 8 epochs, the student changes enough that training on the same view again is useful.
    views: int = Field(
        8,
        ge=0,
        le=10_000,
        description="K, the number of views per training image. With 0 nothing is cached: the "
        "teacher runs during distillation, on a new view of every image in every epoch.",
    )
    dtype: Literal["float16", "float32"] = Field("float16", description="Dtype of cached logits.")
    batch_size: PositiveInt = Field(128, description="Batch size of the teacher.")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "fp32",
        description="Precision of the teacher's forward pass, with cached logits and without; "
        "`auto` is bf16 on a CUDA device that supports it, else fp32.",
    )
    pack_views: bool = Field(
        False,
        description="Cache the pixels of the views too, at K times the size of the training "
        "images. Training then does not compute them.",
    )

    @model_validator(mode="after")
    def _has_views_to_pack(self) -> Self:
        if self.pack_views and not self.views:
            raise ValueError("`pack_views` needs `views` of 1 or more")
        return self
