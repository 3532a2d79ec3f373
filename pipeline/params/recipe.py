"""How a network is trained, teacher or student."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline.plugins.section import AboveZero, Fraction, NotNegative, Positive, Section


class Recipe(Section):
    """How a network is trained."""

    epochs: Positive = Field(description="Passes over the training images.")
    batch_size: Positive = Field(description="Images per step.")
    optimizer: Literal["sgd", "adamw"] = Field(
        "sgd", description="SGD with Nesterov momentum, or AdamW."
    )
    lr: AboveZero = Field(description="Peak learning rate.")
    momentum: Fraction = Field(0.9, description="Momentum of SGD.")
    weight_decay: NotNegative = Field(
        description="Weight decay; biases and norm layers are spared."
    )
    schedule: Literal["one_cycle", "cosine", "constant", "multi_step"] = Field(
        "one_cycle", description="How the learning rate runs over the steps."
    )
    milestones: list[Fraction] = Field(
        default=[0.625, 0.75, 0.875],
        description="Shares of the steps after which the rate of `multi_step` falls; 150, 180 and "
        "210 of 240 epochs by default.",
    )
    gamma: AboveZero = Field(
        0.1, le=1, description="What the rate of `multi_step` is multiplied by at each milestone."
    )
    warmup: Fraction = Field(0.2, description="Share of the steps on which the rate rises.")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Smoothing of the hard labels.")
    mixup: NotNegative = Field(
        0.0,
        description="Every image of a batch is blended with another one, and so are their labels, "
        "by a share from the Beta distribution with this number as both of its parameters; 0 "
        "switches it off. With `cutmix` on too, each batch has one of them.",
    )
    cutmix: NotNegative = Field(
        0.0,
        description="Every image of a batch gets a rectangle of another one, and as large a share "
        "of its label; the share is drawn as for `mixup`. 0 switches it off.",
    )
    ema_decay: float = Field(
        0.0, ge=0, lt=1, description="Decay per step of averaged weights; 0 switches them off."
    )
    clip_norm: NotNegative = Field(0.0, description="Largest norm of the gradients; 0 is no limit.")
    keep: Literal["best", "last"] = Field(
        "best",
        description="Weights that are kept: of the epoch with the best validation accuracy, or of "
        "the last one (steadier where few images validate).",
    )
    patience: int = Field(
        0,
        ge=0,
        description="Epochs without a better validation accuracy after which training ends early; "
        "0 never does.",
    )
    accumulate: Positive = Field(
        1,
        description="Parts in which the images of a step go through the network, one after the "
        "other, where memory is short; their gradients add up to the step's.",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="Type the network computes in while it learns; weights, losses and validation "
        "stay fp32. `auto` takes bf16 on a CUDA device that has it, and fp32 elsewhere.",
    )
    compile: bool = Field(
        False, description="Let torch.compile make the network faster; needs a C++ compiler."
    )

    @property
    def section(self) -> str:
        """Its name in ``params.yaml``, for messages."""
        return type(self).__name__.lower()

    @model_validator(mode="after")
    def _parts_have_images(self) -> Recipe:
        if self.accumulate > self.batch_size:
            raise ValueError(
                f"accumulate = {self.accumulate} makes more parts than batch_size = "
                f"{self.batch_size} has images"
            )
        return self
