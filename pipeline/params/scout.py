"""Parameters of ``finch scout`` (``scout.yaml``)."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from pydantic import Field, model_validator

from pipeline.params.network import ModelName
from pipeline.plugins.section import PositiveFloat, PositiveInt, Section


class Scout(Section):
    """Untrained students to measure, and the latency budget."""

    latency_ms: PositiveFloat = Field(
        1.0, description="Latency budget: the largest p50 at batch size 1, in milliseconds."
    )
    models: list[ModelName] = Field(
        min_length=1, description="Networks to measure, named as in `distill.model`."
    )
    image_sizes: list[Annotated[int, Field(ge=16, le=1024)]] = Field(
        min_length=1,
        description="Heights of the images in pixels, and their widths if they are square "
        "(`prepare.aspect_ratio`); every network is measured at each.",
    )
    rounds: int = Field(
        5,
        ge=3,
        le=1000,
        description="Measurement rounds; each runs every candidate in a new process.",
    )
    runs: int = Field(
        50, ge=10, le=1_000_000, description="Timed inferences per candidate and round."
    )
    warmup: PositiveInt = Field(
        20, description="Number of warm-up inferences before the timed inferences."
    )

    @model_validator(mode="after")
    def _no_duplicates(self) -> Scout:
        for name in ("models", "image_sizes"):
            counts = Counter(getattr(self, name))
            if repeated := [value for value, count in counts.items() if count > 1]:
                raise ValueError(f"{name} contains {repeated[0]} twice; remove one of them")
        return self
