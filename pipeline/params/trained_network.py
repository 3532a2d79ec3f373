"""A network with its training recipe."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator
from typing_extensions import override

from pipeline.params.network import Network
from pipeline.params.recipe import Recipe


class TrainedNetwork(Network, Recipe):
    """A network and how it is trained, or pretrained weights that are used as they are."""

    image_size: int | None = Field(
        None,
        ge=16,
        le=1024,
        description="Height of the network's input in pixels, and its width if it is square "
        "(`prepare.aspect_ratio`); null: that of `prepare.image_size`.",
    )

    @override
    def for_images(self, images: int) -> Self:
        recipe = super().for_images(images)
        if self.pretrained != "none":
            return recipe
        return recipe.model_copy(update={"freeze_epochs": 0, "backbone_lr": 1.0})

    @model_validator(mode="after")
    def _random_weights_are_trained(self) -> Self:
        if not self.epochs and (self.pretrained == "none" or self.head == "fresh"):
            problem = "the classifier layer would be random; use `pretrained: file` with its head"
            raise ValueError(f"with epochs = 0 {problem}, or set epochs to 1 or more")
        return self
