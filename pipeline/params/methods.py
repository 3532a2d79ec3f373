"""The options of every method of distillation."""

from __future__ import annotations

from typing import Literal

import pywt
from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from pipeline.errors import one_of
from pipeline.plugins.section import AboveZero, NotNegative, Positive, Section


class Transfer(Section):
    """How much the teacher counts beside the labels; the same for every method."""

    weight: NotNegative = Field(1.0, description="Weight of the comparison with the teacher.")
    label_weight: NotNegative = Field(1.0, description="Weight of the cross-entropy.")
    warmup_epochs: NotNegative = Field(
        0.0, description="Epochs over which the weight rises from 0."
    )


class FiGKD(Transfer):
    """The FiGKD loss: transfer of the detail bands (reconstructed from the paper's abstract).

    The defaults are what won the comparison in docs/results.md: the detail, and a divergence with
    weight 0.15 * 20 = 3 beside it. The preset ``paper`` has the detail alone.
    """

    weight: NotNegative = Field(
        0.15, description="Weight of the detail distance beside the labels."
    )
    wavelet: str = Field("haar", description="Any discrete wavelet that PyWavelets knows.")
    level: Positive | Literal["max"] = Field(
        1,
        description="Levels of the transform, from 1 to what PyWavelets allows for the class "
        "count; `max` is just that.",
    )
    mode: str = Field("symmetric", description="Padding mode of the transform (PyWavelets).")
    bands: Literal["detail", "content", "all"] = Field(
        "detail",
        description="What is transferred: the detail bands, the content band alone (the method's "
        "complement), or all of them.",
    )
    normalization: Literal["none", "centered", "standardized"] = Field(
        "none", description="What is done to each image's logits before the transform."
    )
    temperature: AboveZero = Field(1.0, description="The logits are divided by it first.")
    distance: Literal["mse", "l1", "kl"] = Field(
        "mse", description="Distance between the bands of student and teacher."
    )
    redraw: bool = Field(
        False,
        description="Shuffle the classes anew at every step, so that in the course of training "
        "all pairs of classes are contrasted; `class_order` does not matter then.",
    )
    kd_share: NotNegative = Field(
        20.0,
        description="How much of the divergence between standardized logits (as in `kd`) is added "
        "to the distance; `weight` times this is its weight. 0: the detail alone.",
    )
    kd_temperature: AboveZero = Field(2.0, description="Temperature of that divergence.")

    @field_validator("level", mode="before")
    @classmethod
    def _a_level(cls, level: object) -> object:
        if level != "max" and not (type(level) is int and level >= 1):
            # One message, where the union would give one for each of its members.
            raise PydanticCustomError("level", "Input should be a whole number from 1, or max")
        return level

    @field_validator("wavelet")
    @classmethod
    def _known_wavelet(cls, name: str) -> str:
        return one_of(name, pywt.wavelist(kind="discrete"), "discrete wavelet of PyWavelets")

    @field_validator("mode")
    @classmethod
    def _known_mode(cls, name: str) -> str:
        return one_of(name, pywt.Modes.modes, "padding mode of PyWavelets")


class KD(Transfer):
    """Hinton's distillation (arXiv 1503.02531), also on standardized logits (CVPR 2024)."""

    weight: NotNegative = Field(0.9, description="Weight of the divergence from the teacher.")
    label_weight: NotNegative = Field(0.1, description="Weight of the cross-entropy.")
    temperature: AboveZero = Field(4.0, description="Temperature of both softmaxes.")
    standardized: bool = Field(
        False,
        description="Standardise each image's logits first; the paper has temperature 2, "
        "weight 9 and label_weight 1 then.",
    )


class DKD(Transfer):
    """Decoupled distillation (CVPR 2022)."""

    warmup_epochs: NotNegative = Field(
        20.0, description="Epochs over which the weight rises from 0; 20 of 240 in the paper."
    )
    alpha: NotNegative = Field(
        1.0, description="Share of the divergence between the label and all other classes."
    )
    beta: NotNegative = Field(8.0, description="Share of the divergence among the other classes.")
    temperature: AboveZero = Field(4.0, description="Temperature of all softmaxes.")


class DIST(Transfer):
    """Distillation by correlation (NeurIPS 2022); the defaults are those of the authors' code."""

    beta: NotNegative = Field(
        1.0, description="Share of the correlation over the classes of each image."
    )
    gamma: NotNegative = Field(
        1.0, description="Share of the correlation over the images of a batch for each class."
    )
    temperature: AboveZero = Field(1.0, description="Temperature of both softmaxes.")


class LogitMSE(Transfer):
    """Mean squared error of the whole logits."""

    weight: NotNegative = Field(0.1, description="Weight of the squared distance.")
    centered: bool = Field(False, description="Take each image's mean logit away first.")
