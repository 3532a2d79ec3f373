"""What is tried for an int8 candidate that loses too much."""

from __future__ import annotations

from pydantic import Field

from pipeline.plugins.section import Positive, Section


class MixedPrecision(Section):
    """Layers left in float until the rest of a static int8 candidate meets the budget."""

    mixed: bool = Field(
        True,
        description="Give a static int8 candidate that loses more than `bundle.max_drop` or "
        "`bundle.max_drop_bound` allow a companion, `<name>-mixed`, with its most costly layers "
        "in float.",
    )
    images: Positive = Field(
        128, description="Validation images on which the cost of each layer is found."
    )
    largest_share: float = Field(
        0.5, gt=0, le=1, description="Share of the layers, at most, that a mixed candidate leaves."
    )
