"""The root of ``params.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import Field, create_model, model_validator

from pipeline.params.evaluate import Evaluate
from pipeline.params.prepare import Prepare, prepare_model
from pipeline.params.qat import QAT
from pipeline.params.run import Run
from pipeline.params.shipping import Bundle, Export, Quantize
from pipeline.params.student import Distill, distill_model
from pipeline.params.teacher import CacheLogits, Finetune
from pipeline.params.views import Views
from pipeline.plugins.section import Section


class Params(Section):
    """All parameters of the pipeline, one section per stage.

    The type for annotations; ``params_model`` adds the options of all plug-ins.
    """

    run: Run = Field(default_factory=Run, description="Device, seed and threads of every stage.")
    prepare: Prepare = Field(default_factory=Prepare, description="Data source and splits.")
    views: Views = Field(default_factory=Views, description="Augmentation.")
    finetune: Finetune = Field(description="Training of the teacher.")
    cache_logits: CacheLogits = Field(default_factory=CacheLogits, description="Logit cache.")
    distill: Distill = Field(description="Distillation of the student.")
    export: Export = Field(default_factory=Export, description="Export to ONNX.")
    qat: QAT = Field(default_factory=QAT, description="Quantization-aware training.")
    quantize: Quantize = Field(description="Candidates for deployment.")
    evaluate: Evaluate = Field(default_factory=Evaluate, description="Measurements.")
    bundle: Bundle = Field(default_factory=Bundle, description="Selection and packaging.")

    @model_validator(mode="after")
    def _class_order_has_logits(self) -> Params:
        order = self.distill.class_order
        by_logits = (order.kind, order.similarity) == ("similarity", "logits")
        if by_logits and not self.cache_logits.views:
            raise ValueError(
                "distill.class_order.similarity = 'logits' needs cached logits, but "
                "cache_logits.views is 0; set it to weights"
            )
        return self

    @model_validator(mode="after")
    def _bundle_device_is_measured(self) -> Params:
        names = [device.name for device in self.evaluate.devices]
        if self.bundle.device not in names:
            raise ValueError(
                f"bundle.device {self.bundle.device!r} is not in evaluate.devices: "
                f"{', '.join(names)}"
            )
        return self

    @model_validator(mode="after")
    def _qat_candidates_are_trained(self) -> Params:
        names = [c.name for c in self.quantize.candidates if c.method == "qat"]
        if names and not self.qat.epochs:
            raise ValueError(
                f"candidate {names[0]!r} has method qat, but qat.epochs is 0; raise qat.epochs, or "
                "choose method static"
            )
        return self


@cache
def params_model() -> type[Params]:
    """``Params`` with a section of options for every registered loss and data source."""
    fields = Params.model_fields
    return create_model(
        "Params",
        __base__=Params,
        __doc__="All parameters of the pipeline, one section per stage.",
        prepare=(prepare_model(), fields["prepare"]),
        distill=(distill_model(), fields["distill"]),
    )


def parse_params(values: Mapping[str, Any]) -> Params:
    """Validates parameters that were read already.

    Raises:
        pydantic.ValidationError: A key or value is not allowed.
    """
    return params_model().model_validate(values)
