"""What quantisation took from the student, learned back."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.plugins.section import AboveZero, Section
from pipeline.params.student import Distill


class QAT(Section):
    """Distillation goes on with fake-quantised weights and activations."""

    epochs: int = Field(
        0,
        ge=0,
        description="Passes over the training images; 0 recovers nothing, and no candidate can "
        "have `method: qat`. More needs the extra `recover` and a C++ compiler.",
    )
    method: Literal["figkd", "kd", "dkd", "dist", "logit_mse", "cross_entropy"] | None = Field(
        None,
        description="What is learned from besides the labels, with the options that `distill` has "
        "for it; `distill.method` when null.",
    )
    lr: AboveZero = Field(0.001, description="Peak learning rate; it falls along half a cosine.")

    def recipe(self, distill: Distill) -> Distill:
        """How the fake-quantised student of ``distill`` learns.

        Batch size, optimiser, labels and the options of the method stay. What would make a few
        careful epochs another thing does not: mixed images, averaged weights, an early end, weight
        decay (it would pull at the ranges, too), and a compiler or a type that fake quantisation
        is not proven with.
        """
        return distill.changed(
            {
                "epochs": self.epochs,
                "method": self.method or distill.method,
                "lr": self.lr,
                "schedule": "cosine",
                "weight_decay": 0.0,
                "mixup": 0.0,
                "cutmix": 0.0,
                "ema_decay": 0.0,
                "keep": "best",
                "patience": 0,
                "precision": "fp32",
                "compile": False,
            }
        )
