"""One way to run the student on a device."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline.plugins.section import Section

# What each way to make int8 has to decide.
_DECIDES = {
    ("onnxruntime", "static"): {"format", "types", "per_channel", "reduce_range", "calibration"},
    ("onnxruntime", "dynamic"): {"reduce_range"},
    ("onnxruntime", "qat"): set(),
    ("openvino", "static"): {"preset", "bias_correction", "reduce_range", "accuracy_control"},
    ("openvino", "weights"): set(),
    ("openvino", "qat"): set(),
}
_CANNOT = {
    ("onnxruntime", "weights"): "onnxruntime turns int8 weights into fp32 as it loads them; "
    "use precision fp16 for a smaller file, or openvino",
    ("openvino", "dynamic"): "openvino's int8 kernels need the ranges beforehand; "
    "use method static, or weights",
}


class Candidate(Section):
    """A runtime, a precision and how it is reached."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", description="Name, also of its folder.")
    runtime: Literal["onnxruntime", "openvino"] = Field(description="Inference runtime.")
    precision: Literal["fp32", "fp16", "int8"] = Field(
        description="Weights' type; fp16 halves the file and computes as the runtime likes."
    )
    batch: Literal["dynamic", 1] = Field("dynamic", description="Batch: dynamic, or fixed at 1.")
    method: Literal["static", "dynamic", "weights", "qat"] = Field(
        "static",
        description="int8: static has ranges from calibration images, dynamic (onnxruntime) finds "
        "those of activations as it runs, weights (openvino) leaves activations in float, "
        "aware takes the student of `recover`.",
    )
    format: Literal["qdq", "qoperator"] = Field(
        "qdq", description="static, onnxruntime: pairs of nodes around float ones, or integer ones."
    )
    types: Literal["u8s8", "u8u8", "s8s8"] = Field(
        "u8s8", description="static, onnxruntime: types of activations and of weights."
    )
    per_channel: bool = Field(
        True, description="static, onnxruntime: a scale for every output channel of the weights."
    )
    reduce_range: bool = Field(
        True,
        description="int8: weights use 7 bits, which x86 without VNNI cannot overflow; of qdq and "
        "openvino the depthwise ones keep 8.",
    )
    calibration: Literal["minmax", "entropy", "percentile"] = Field(
        "minmax", description="static, onnxruntime: how ranges come from the calibration images."
    )
    preset: Literal["performance", "mixed"] = Field(
        "performance",
        description="static, openvino: symmetric activations, or asymmetric ones as well.",
    )
    bias_correction: Literal["thorough", "fast"] = Field(
        "thorough", description="static, openvino: how biases make up for rounding."
    )
    accuracy_control: bool = Field(
        False,
        description="static, openvino: NNCF leaves operators in float, the most costly first, "
        "until no more than `bundle.max_drop` is lost on the validation images; takes minutes.",
    )

    @property
    def options(self) -> dict[str, object]:
        """By which options int8 is made, the method first; empty for other precisions."""
        if self.precision != "int8":
            return {}
        names = ("method", *sorted(_DECIDES[self.runtime, self.method]))
        return {name: getattr(self, name) for name in names}

    @property
    def can_be_mixed(self) -> bool:
        """Whether the ladder can leave layers of it in float."""
        static = self.precision == "int8" and self.method == "static"
        return static and not self.accuracy_control

    @property
    def mixed_name(self) -> str:
        """Name of the candidate that the ladder makes of it."""
        return f"{self.name}-mixed"

    @model_validator(mode="after")
    def _can_be_made(self) -> Candidate:
        # By value: parameters that were written out in full have every option.
        given = {
            name
            for name, field in type(self).model_fields.items()
            if name not in ("name", "runtime", "precision", "batch")
            and getattr(self, name) != field.default
        }
        if self.precision != "int8":
            if given:
                raise ValueError(f"{self.precision} has no option {min(given)}: it is for int8")
            return self
        way = (self.runtime, self.method)
        if way in _CANNOT:
            raise ValueError(_CANNOT[way])
        if others := given - _DECIDES[way] - {"method"}:
            known = ", ".join(sorted(_DECIDES[way])) or "no options"
            raise ValueError(
                f"{self.method} int8 by {self.runtime} has no option {min(others)}: {known}"
            )
        if self.format == "qoperator" and self.types == "u8u8" and self.per_channel:
            raise ValueError(
                "qoperator convolutions have a scale a channel for signed weights only; "
                "set per_channel to false, or take types u8s8"
            )
        return self
