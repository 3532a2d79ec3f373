"""The root of ``params.yaml``, and its section ``run``."""

from __future__ import annotations

from functools import cache
from typing import Literal

from finch_runtime.image_size import ImageSize
from pydantic import Field, create_model, model_validator

from pipeline.errors import shown
from pipeline.params.evaluate import Evaluate
from pipeline.params.prepare import Prepare, prepare_model
from pipeline.params.qat import QAT
from pipeline.params.recipes import RecipeName
from pipeline.params.shipping import Bundle, Export, Quantize
from pipeline.params.student import Distill, distill_model
from pipeline.params.teacher import CacheLogits, Finetune
from pipeline.params.views import Views
from pipeline.plugins.section import PositiveFloat, PositiveInt, Section, Seed

DataOnDevice = Literal["auto", "always", "never"]


class Run(Section):
    """Device, seed, threads and checkpoints of every stage."""

    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="Training device; `auto` is CUDA, else MPS, else the CPU."
    )
    seed: Seed = Field(0, description="Seed of initial weights and order of the images.")
    threads: int = Field(0, ge=0, le=256, description="CPU threads of training; 0 is one per core.")
    deterministic: bool = Field(
        False,
        description="Whether a second run on the same GPU, or one that resumes, computes the same "
        "bits; slower, and not possible with every network. On the CPU it always does.",
    )
    checkpoint_minutes: PositiveFloat = Field(
        5.0,
        description="Minutes between checkpoints within an epoch. A checkpoint is also saved after "
        "every epoch.",
    )
    check_every: PositiveInt = Field(
        50,
        description="On a GPU, steps from one check to the next that the losses are finite; the "
        "check waits for the GPU. On the CPU, every step is checked.",
    )
    data_on_device: DataOnDevice = Field(
        "auto",
        description="Whether the data of training are copied to the memory of the device, instead "
        "of the rows of every step. `auto`: to a GPU, if they fill at most half of its free "
        "memory. Images that are larger than the views stay in files.",
    )


class Params(Section):
    """All parameters of the pipeline, one section per stage.

    The type for annotations; ``params_model`` adds the options of all plug-ins.
    """

    recipe: RecipeName = Field(
        "auto",
        description="Values of the parameters that params.yaml does not set (docs/presets.md); "
        "`auto`: `solar-cells` for `prepare.source: elpv`, else `photographs`; `none`: the "
        "defaults of this table.",
    )
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

    @property
    def image_sizes(self) -> list[ImageSize]:
        """The sizes to pack, largest first: of the networks, and one for the views."""
        packed = self.prepare.image_size
        seen = {network.image_size or packed for network in (self.finetune, self.distill)}
        heights = sorted(seen | {max(packed, *seen)}, reverse=True)
        return [self.prepare.size_at(height) for height in heights]

    @model_validator(mode="after")
    def _image_sizes_are_known(self) -> Params:
        """An image size that is null gets its value, which the stages of the network read."""
        for name in ("finetune", "distill"):
            network: Finetune | Distill = getattr(self, name)
            if network.image_size is None:
                size = {"image_size": self.prepare.image_size}
                object.__setattr__(self, name, network.model_copy(update=size))
        return self

    @model_validator(mode="after")
    def _sections_agree(self) -> Params:
        if self.views.quarter_turns and self.prepare.aspect_ratio != 1:
            raise ValueError(
                "views.quarter_turns needs square images, but prepare.aspect_ratio is "
                f"{self.prepare.aspect_ratio:g}; set views.quarter_turns to false, or "
                "prepare.aspect_ratio to 1"
            )
        self.finetune.check_members(self.run.seed)
        if self.cache_logits.folds:
            self.finetune.check_folds(self.run.seed)
        order = self.distill.class_order
        by_logits = (order.kind, order.similarity) == ("similarity", "logits")
        if by_logits and not self.cache_logits.views:
            raise ValueError(
                "distill.class_order.similarity = 'logits' needs cached logits, but "
                "cache_logits.views is 0; set it to weights"
            )
        if self.prepare.has_unlabelled:
            self.distill.check_unlabelled()
            if self.qat.epochs:
                self.qat.recipe(self.distill).check_unlabelled()
        device, devices = self.bundle.device, [device.name for device in self.evaluate.devices]
        if device not in devices:
            raise ValueError(
                f"bundle.device {shown(device)} is not in evaluate.devices: {', '.join(devices)}"
            )
        qat = [c.name for c in self.quantize.candidates if c.method == "qat"]
        if qat and not self.qat.epochs:
            raise ValueError(
                f"candidate {qat[0]!r} has method qat, but qat.epochs is 0; raise qat.epochs, or "
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
