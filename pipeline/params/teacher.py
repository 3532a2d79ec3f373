"""Parameters of the teacher and of the logit cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from pipeline.params.messages import explain
from pipeline.params.network import ModelName, Pretrained
from pipeline.params.trained_network import TrainedNetwork
from pipeline.plugins.section import (
    LocalText,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Section,
    Seed,
)


class Member(Section):
    """A further network of the teacher. A parameter that is null has the value of `finetune`."""

    weight: PositiveFloat = Field(
        1.0, description="Weight of its logits in the mean. The network of `finetune` has 1."
    )
    seed: Seed | None = Field(
        None, description="Seed of initial weights and order of the images; null: `run.seed`."
    )
    model: ModelName | None = Field(None, description="Model name, as `finetune.model`.")
    pretrained: Pretrained | None = Field(
        None,
        description="Initial weights, as `finetune.pretrained`. If `model` or `pretrained` is set, "
        "none of the files of `finetune` are used.",
    )
    weights: LocalText | None = Field(
        None, description="Path of the weights for `pretrained: file`."
    )
    class_names: LocalText | None = Field(
        None, description="Path of the class names of the weights, as `finetune.class_names`."
    )
    epochs: int | None = Field(
        None, ge=0, le=1_000_000, description="Number of epochs; 0: the weights as they are."
    )
    optimizer: Literal["sgd", "adamw"] | None = Field(None, description="SGD or AdamW.")
    lr: PositiveFloat | None = Field(None, description="Peak learning rate.")
    weight_decay: NonNegativeFloat | None = Field(None, description="Weight decay.")


@dataclass(frozen=True)
class TeacherNetwork:
    """A network that answers for the teacher.

    Attributes:
        key: Where its parameters are, such as ``finetune.members.0``.
        recipe: Its parameters; those of a member have no members.
        seed: Seed of initial weights and order of the images.
        weight: Weight of its logits in the mean.
    """

    key: str
    recipe: Finetune
    seed: int
    weight: float

    def trains_as(self, other: TeacherNetwork) -> bool:
        """Whether both have the same weights after training."""
        same = self.values == other.values
        return same and (self.seed == other.seed or not self.recipe.epochs)

    @property
    def values(self) -> dict[str, Any]:
        """The parameters of this network alone."""
        return self.recipe.model_dump(exclude={"members"})


class Finetune(TrainedNetwork):
    """The teacher."""

    model: ModelName = "tf_efficientnet_lite0"
    pretrained: Pretrained = "package"
    members: list[Member] = Field(
        default=[],
        max_length=100,
        description="Further networks, of other seeds or architectures. The student learns from "
        "the weighted mean of all logits (docs/teachers.md).",
    )

    def networks(self, seed: int) -> list[TeacherNetwork]:
        """This network and the members, whose ``seed`` is that of `run` by default.

        Raises:
            ValidationError: A member's parameters do not fit together.
        """
        alone = self.model_dump(exclude={"members"})
        networks = [TeacherNetwork("finetune", self, seed, 1.0)]
        for index, member in enumerate(self.members):
            values = member.model_dump(exclude_none=True, exclude={"seed", "weight"})
            start = dict(alone)
            if values.keys() & {"model", "pretrained"}:  # what belongs to the other weights
                start = {k: v for k, v in alone.items() if k not in _OF_WEIGHTS}
            recipe = Finetune.model_validate(start | values)
            own_seed = seed if member.seed is None else member.seed
            key = f"finetune.members.{index}"
            networks.append(TeacherNetwork(key, recipe, own_seed, member.weight))
        return networks

    def check_members(self, seed: int) -> None:
        """Checks the members, given the seed of `run`.

        Raises:
            ValueError: A member's parameters do not fit together, or its weights would be those of
                another network.
        """
        try:
            networks = self.networks(seed)
        except ValidationError as error:
            raise ValueError(f"finetune.members: {explain(error, Finetune)}") from None
        for number, network in enumerate(networks):
            for other in networks[:number]:
                if network.trains_as(other):
                    raise ValueError(
                        f"{network.key} has the network, the recipe and the seed of {other.key}, "
                        "and so the same weights; set another seed or model"
                    )

    def check_folds(self, seed: int) -> None:
        """Checks that every network can be trained for a fold, given the seed of `run`.

        Raises:
            ValueError: A network is not trained, so that nothing can be left out.
        """
        for network in self.networks(seed):
            if not network.recipe.epochs:
                raise ValueError(
                    f"cache_logits.folds needs teachers that are trained, but {network.key}.epochs "
                    "is 0; set folds to 0, or epochs to 1 or more"
                )


_OF_WEIGHTS = ("weights", "class_names", "head", "mean", "std")


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
    batch_size: PositiveInt = Field(
        128,
        description="Batch size of the teacher. On a GPU, a batch that does not fit is halved, as "
        "are the later ones.",
    )
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

    folds: int = Field(
        0,
        ge=0,
        le=1000,
        description="k, the number of folds of the training images. Every image is answered by a "
        "teacher that learned from the other folds only, so that `finetune` trains k more teachers "
        "(docs/teachers.md). With 0, the teacher answers for the images that it learned from.",
    )

    @field_validator("folds")
    @classmethod
    def _two_folds_or_none(cls, folds: int) -> int:
        if folds == 1:
            raise ValueError("must be 0, or 2 or more: outside of one fold there are no images")
        return folds

    @model_validator(mode="after")
    def _has_views_to_answer(self) -> Self:
        if self.folds and not self.views:
            raise ValueError("`folds` needs `views` of 1 or more: only cached answers have folds")
        return self

    @model_validator(mode="after")
    def _has_views_to_pack(self) -> Self:
        if self.pack_views and not self.views:
            raise ValueError("`pack_views` needs `views` of 1 or more")
        return self
