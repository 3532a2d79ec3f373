"""Parameters of quantization-aware training (QAT)."""

from __future__ import annotations

from pydantic import Field, field_validator

from pipeline.errors import one_of
from pipeline.params.student import Distill
from pipeline.plugins import LOSSES
from pipeline.plugins.section import PositiveFloat, Section


class QAT(Section):
    """Quantization-aware training: distillation with fake-quantized weights and activations."""

    epochs: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Number of epochs. 0 disables QAT; no candidate can then have `method: qat`. "
        "QAT needs the extra `qat` and a C++ compiler.",
    )
    method: str | None = Field(
        None, description="Loss, with its options in `distill`; null: `distill.method`."
    )
    # One tenth of a usual value for training from scratch, since the weights are already trained.
    lr: PositiveFloat = Field(0.001, description="Peak learning rate of a cosine schedule.")

    @field_validator("method")
    @classmethod
    def _known_method(cls, name: str | None) -> str | None:
        return name if name is None else one_of(name, LOSSES.names(), LOSSES.kind)

    def recipe(self, distill: Distill) -> Distill:
        """The recipe of ``distill`` with fixed values of most options.

        Weight decay would also shrink the quantization ranges. Compilation and mixed precision are
        not tested with fake quantization.
        """
        return distill.changed(
            {
                "epochs": self.epochs,
                "steps": {},
                "freeze_epochs": 0,
                "method": self.method or distill.method,
                "lr": self.lr,
                "backbone_lr": 1.0,
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
