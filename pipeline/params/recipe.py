"""Parameters of training that teacher and student have in common."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from pipeline.plugins.section import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt, Section


class Steps(Section):
    """Limits of the number of training steps."""

    min: PositiveInt | None = Field(
        None, description="Minimum number of steps; the number of epochs is raised to reach it."
    )
    max: PositiveInt | None = Field(
        None,
        description="Maximum number of steps; the number of epochs is lowered to keep it, but not "
        "below 1.",
    )

    @model_validator(mode="after")
    def _are_in_order(self) -> Self:
        if self.min and self.max and self.min > self.max:
            raise ValueError(f"min = {self.min} is larger than max = {self.max}")
        return self


class Recipe(Section):
    """Training recipe."""

    epochs: int = Field(
        ge=0,
        le=1_000_000,
        description="Number of epochs. 0: the pretrained weights are used as they are, and the "
        "parameters of training have no effect.",
    )
    steps: Steps = Field(
        default_factory=Steps,
        description="Limits of the number of steps, for few or many images. They change `epochs`, "
        "and `patience` by the same factor.",
    )
    freeze_epochs: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Initial epochs in which only the classifier layer is trained. The limits of "
        "`steps` change it by the same factor as `epochs`. No effect with `pretrained: none`.",
    )
    freeze_below: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="With fewer training images than this, only the classifier layer is trained, "
        "in all epochs. No effect with `pretrained: none`.",
    )
    batch_size: PositiveInt = Field(description="Images per step, over all processes.")
    optimizer: Literal["sgd", "adamw"] = Field(
        "sgd", description="SGD with Nesterov momentum, or AdamW."
    )
    lr: PositiveFloat = Field(description="Peak learning rate.")
    backbone_lr: NonNegativeFloat = Field(
        1.0,
        description="Factor of `lr` for all layers but the classifier layer. Values below 1 "
        "preserve the features of pretrained weights. No effect with `pretrained: none`.",
    )
    momentum: Fraction = Field(0.9, description="Momentum of SGD.")
    weight_decay: NonNegativeFloat = Field(
        description="Weight decay; not applied to biases and normalization layers."
    )
    schedule: Literal["one_cycle", "cosine", "constant", "multi_step"] = Field(
        "one_cycle", description="Learning rate schedule after the warm-up."
    )
    # 150, 180 and 210 of 240 epochs, as in the CIFAR-100 distillation literature.
    milestones: list[Fraction] = Field(
        default=[0.625, 0.75, 0.875],
        description="Milestones of `multi_step`, as fractions of all steps.",
    )
    gamma: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Factor of the learning rate at each milestone of `multi_step`.",
    )
    warmup: Fraction = Field(0.2, description="Fraction of the steps with linear warm-up.")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Label smoothing.")
    sampling: Literal["natural", "square_root", "balanced"] = Field(
        "natural",
        description="Class-balanced sampling: the images of a class with n images are drawn with "
        "a frequency proportional to n, √n or 1. The number of steps per epoch is the same. With "
        "`balanced` every class is equally frequent.",
    )
    logit_adjustment: NonNegativeFloat = Field(
        0.0,
        description="Logit adjustment: the cross-entropy adds this factor times the log of each "
        "class's fraction of the drawn images to the logits, so that classes with few images "
        "are predicted more often. 1 minimizes the balanced error; 0 disables it.",
    )
    mixup: NonNegativeFloat = Field(
        0.0,
        description="Mixup: λ is sampled from the Beta distribution with both parameters equal to "
        "this; 0 disables it. If `cutmix` is also set, each batch uses one of the two at random.",
    )
    cutmix: NonNegativeFloat = Field(
        0.0, description="CutMix, with λ sampled as for `mixup`; 0 disables it."
    )
    ema_decay: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Decay per step of the exponential moving average (EMA) of the weights; 0 "
        "disables it.",
    )
    clip_norm: NonNegativeFloat = Field(
        0.0, description="Maximum gradient norm; 0 disables clipping."
    )
    keep: Literal["best", "last"] = Field(
        "best",
        description="Epoch of the final weights: `best` has the best value of `keep_by`; `last` "
        "is less noisy with a small validation split.",
    )
    keep_by: Literal["accuracy", "balanced_accuracy", "macro_f1"] = Field(
        "accuracy",
        description="Validation metric of `keep` and `patience`. Balanced accuracy is the mean "
        "recall of the classes, macro F1 the mean of their F1; every class counts the same in "
        "both.",
    )
    patience: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Early stopping after this many epochs without a better value of `keep_by`; 0 "
        "disables it.",
    )
    accumulate: PositiveInt = Field(
        1, description="Gradient accumulation: micro-batches per step, to save memory."
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="Mixed precision of the forward pass; weights, loss and validation are fp32. "
        "`auto` is bf16 on a CUDA device that supports it, and for a network without grouped "
        "convolutions on a CPU with AMX, else fp32.",
    )
    compile: Literal[False, True, "reduce-overhead"] = Field(
        False,
        description="Compile the model with torch.compile; needs a C++ compiler. "
        "`reduce-overhead` also records the kernels of a step in CUDA graphs, which helps where a "
        "GPU waits for Python: small networks and small batches.",
    )

    @property
    def section(self) -> str:
        """Name of the section in ``params.yaml``, for messages."""
        return type(self).__name__.lower()

    def for_images(self, images: int) -> Self:
        """The recipe for a number of training images.

        ``epochs`` is within the limits of ``steps``, and ``freeze_epochs`` is as ``freeze_below``
        says; the result has no such limits. A recipe without epochs has none afterwards.
        """
        per_epoch, epochs = -(-images // self.batch_size), self.epochs
        if not epochs:
            return self
        if self.steps.min:
            epochs = max(epochs, -(-self.steps.min // per_epoch))
        if self.steps.max:
            epochs = max(1, min(epochs, self.steps.max // per_epoch))

        def scaled(count: int) -> int:
            return -(-count * epochs // self.epochs)

        frozen = epochs if images < self.freeze_below else scaled(self.freeze_epochs)
        changes = {
            "epochs": epochs,
            "steps": Steps(),
            "freeze_epochs": frozen,
            "freeze_below": 0,
            "patience": scaled(self.patience),
        }
        return self.model_copy(update=changes)

    @model_validator(mode="after")
    def _adjustment_has_an_effect(self) -> Self:
        if self.logit_adjustment and self.sampling == "balanced":
            raise ValueError(
                f"logit_adjustment = {self.logit_adjustment:g} has no effect with `sampling: "
                "balanced`, which already makes the classes equally frequent; set one of the two"
            )
        return self

    @model_validator(mode="after")
    def _micro_batches_have_images(self) -> Self:
        if self.accumulate > self.batch_size:
            sizes = f"accumulate = {self.accumulate}, batch_size = {self.batch_size}"
            raise ValueError(f"accumulate must not exceed batch_size ({sizes})")
        return self

    @model_validator(mode="after")
    def _graphs_do_not_accumulate(self) -> Self:
        # The gradients that a CUDA graph returns are overwritten by its next run
        # (https://github.com/pytorch/pytorch/issues/169545).
        if self.compile == "reduce-overhead" and self.accumulate > 1:
            problem = f"compile = reduce-overhead needs accumulate = 1, not {self.accumulate}"
            raise ValueError(f"{problem}; set compile to true, or accumulate to 1")
        return self
