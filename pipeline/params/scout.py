"""Students to measure before any training."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from pydantic import Field, model_validator

from pipeline.params.network import ModelName
from pipeline.plugins.section import AboveZero, Positive, Section


class Scout(Section):
    """Untrained students, measured as the candidates of `quantize`."""

    latency_ms: AboveZero = Field(
        1.0,
        description="Budget in milliseconds: the longest p50 at batch 1 that a student may have.",
    )
    models: list[ModelName] = Field(
        default_factory=lambda: [
            "mobilenetv3_small_050",
            "mobilenetv3_small_100",
            "mobilenetv2_035",
            "mobilenetv2_050",
            "mobilenetv2_100",
            "tf_efficientnet_lite0",
            "resnet18",
        ],
        min_length=1,
        description="Networks to try, as `distill.model` names them.",
    )
    image_sizes: list[Annotated[int, Field(ge=16, le=1024)]] = Field(
        default_factory=lambda: [64, 96, 128],
        min_length=1,
        description="Sides of the images, in pixels, to try every network at.",
    )
    rounds: int = Field(
        5, ge=3, description="Interleaved rounds; each runs every candidate in a new process."
    )
    runs: int = Field(50, ge=10, description="Timed inferences per candidate and round.")
    warmup: Positive = Field(20, description="Inferences before the timed ones.")

    @model_validator(mode="after")
    def _each_once(self) -> Scout:
        for name in ("models", "image_sizes"):
            counts = Counter(getattr(self, name))
            if twice := [value for value, count in counts.items() if count > 1]:
                raise ValueError(f"{name} holds {twice[0]} twice; take one of them out")
        return self
