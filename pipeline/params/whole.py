"""All of ``params.yaml``."""

from __future__ import annotations

from pydantic import Field, ValidationError, model_validator

from pipeline.params.compare import Compare
from pipeline.params.explanation import explain
from pipeline.params.prepare import Prepare
from pipeline.params.qat import QAT
from pipeline.params.run import Run
from pipeline.params.scout import Scout
from pipeline.plugins.section import Section
from pipeline.params.shipping import Bundle, Evaluate, Export, Quantize
from pipeline.params.student import Distill
from pipeline.params.teacher import CacheLogits, Finetune
from pipeline.params.views import Views


class Params(Section):
    """All of ``params.yaml``."""

    run: Run = Field(default_factory=Run, description="How every stage runs.")
    prepare: Prepare = Field(default_factory=Prepare, description="Photographs and splits.")
    views: Views = Field(default_factory=Views, description="Augmentation.")
    finetune: Finetune = Field(description="The teacher.")
    cache_logits: CacheLogits = Field(
        default_factory=CacheLogits, description="The teacher's answers."
    )
    distill: Distill = Field(description="The student.")
    export: Export = Field(default_factory=Export, description="PyTorch to ONNX.")
    qat: QAT = Field(default_factory=QAT, description="What quantisation took, learned back.")
    quantize: Quantize = Field(description="The candidates.")
    evaluate: Evaluate = Field(default_factory=Evaluate, description="Measurements.")
    bundle: Bundle = Field(default_factory=Bundle, description="What ships.")
    scout: Scout = Field(default_factory=Scout, description="Students before any training.")
    compare: Compare = Field(default_factory=Compare, description="Methods on equal terms.")

    @model_validator(mode="after")
    def _has_logits_to_order_by(self) -> Params:
        order = self.distill.class_order
        by_logits = (order.kind, order.similarity) == ("similarity", "logits")
        if by_logits and not self.cache_logits.views:
            raise ValueError(
                "distill.class_order.similarity: logits needs cached logits, cache_logits.views is "
                "0; set it to weights"
            )
        return self

    @model_validator(mode="after")
    def _chooses_where_it_measures(self) -> Params:
        names = [device.name for device in self.evaluate.devices]
        if self.bundle.device not in names:
            raise ValueError(
                f"bundle.device {self.bundle.device!r} is not in evaluate.devices: "
                f"{', '.join(names)}"
            )
        return self

    @model_validator(mode="after")
    def _has_recovered_what_it_takes(self) -> Params:
        aware = [c.name for c in self.quantize.candidates if c.method == "qat"]
        if aware and not self.qat.epochs:
            raise ValueError(
                f"candidate {aware[0]!r} has method qat, and qat.epochs is 0; raise that, or "
                "take method static"
            )
        return self

    @model_validator(mode="after")
    def _entries_can_run(self) -> Params:
        for entry in self.compare.entries:
            for setting in entry.settings():
                try:
                    self.distill.changed({**entry.set, **setting})
                except ValidationError as error:
                    said = "; ".join(f"distill.{explain(dict(e), Distill)}" for e in error.errors())
                    raise ValueError(f"entry {entry.name!r}: {said}") from None
        return self
