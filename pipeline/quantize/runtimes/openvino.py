"""Candidates for OpenVINO: fp32, fp16 weights, and int8 by NNCF's post-training quantization.

The defaults of static int8 were chosen by agreement with fp32, for mobilenetv2_035 on a CPU without
VNNI:

- Ranges are the minimum and maximum over all calibration images. NNCF's default is the mean of
  the per-image extremes, which clips the most confident images (error of the logits 0.37 instead of
  0.05).
- Weights use 7 of 8 bits (``OverflowFix.ENABLE``) except depthwise ones, for the reason given in
  ``pipeline.quantize.runtimes.onnxruntime``: agreement is 98 % instead of 95 %.
- Bias correction is ``thorough``, which takes a few seconds more (error 0.08 with ``fast``).
- Activations are symmetric; asymmetric ones are no better.

The preprocessing stays in float: NNCF recognizes it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from finch_runtime.errors import last_line
from finch_runtime.telemetry import turn_off
from numpy.typing import NDArray
from pydantic import Field

from pipeline.errors import QuantizationError
from pipeline.params import Candidate
from pipeline.plugins import RUNTIMES
from pipeline.plugins.section import Section
from pipeline.quantize.layers import Layer, find_layers
from pipeline.quantize.runtimes.base import CandidateRuntime, ReduceRange, Variants
from pipeline.quiet import quiet

if TYPE_CHECKING:
    from openvino import Model, Node

log = logging.getLogger(__name__)

_WEIGHTED = (
    "Convolution",
    "GroupConvolution",
    "ConvolutionBackpropData",
    "GroupConvolutionBackpropData",
    "MatMul",
)
# Operators that do not change values: a range before them applies to the operators after them.
_PASS_THROUGH = ("Reshape", "Squeeze", "Unsqueeze", "Transpose", "MaxPool", "StridedSlice", "Pad")


class StaticOptions(Section):
    """Options of static int8."""

    bias_correction: Literal["thorough", "fast"] = Field(
        "thorough", description="Bias correction algorithm of NNCF."
    )
    preset: Literal["performance", "mixed"] = Field(
        "performance",
        description="NNCF preset. `performance`: symmetric activations; `mixed`: asymmetric "
        "activations where NNCF chooses them.",
    )
    reduce_range: ReduceRange = True


@RUNTIMES.register("openvino")
class OpenVINO(CandidateRuntime):
    """Candidates for OpenVINO."""

    package = "openvino"
    int8_methods: ClassVar[dict[str, type[Section]]] = {
        "static": StaticOptions,
        "weights": Section,
        "qat": Section,
    }
    unsupported: ClassVar[dict[str, str]] = {
        "dynamic": "its int8 kernels need ranges from calibration; use method static, or weights"
    }
    mixed_precision = True

    def make(
        self, candidate: Candidate, source: Path, calibration: NDArray[np.uint8], folder: Path
    ) -> Path:
        """Writes ``model.xml`` and ``model.bin``."""
        model = _convert(candidate, source)
        _name_by_order(model)
        if candidate.precision == "int8" and candidate.method != "qat":
            model = _quantize(candidate, model, calibration)
        return _save(model, folder, compress_to_fp16=candidate.precision == "fp16")

    @contextmanager
    def open_variants(
        self, candidate: Candidate, source: Path, calibration: NDArray[np.uint8]
    ) -> Iterator[Variants]:
        """Runs NNCF once, for all variants."""
        model = _convert(candidate, source)
        layers = _find_weighted(source, model)
        yield _StaticVariants(layers, model, _quantize(candidate, model.clone(), calibration))


def _convert(candidate: Candidate, source: Path) -> Model:
    turn_off()
    import openvino

    try:
        # Not `Core.read_model`, which does not fold ONNX's decompositions: the file would be twice
        # as large, and NNCF would find no biases to correct.
        return openvino.convert_model(source)
    except Exception as error:  # openvino's errors have no common base class
        unknown = [line for line in str(error).splitlines() if "No conversion rule" in line]
        reason = unknown[0].lstrip("- ") if unknown else last_line(error)
        problem = f"openvino cannot run the student: {reason}"
        remedy = "choose another runtime, or another model"
        raise QuantizationError(candidate.name, problem, remedy) from error


def _save(model: Model, folder: Path, *, compress_to_fp16: bool = False) -> Path:
    import openvino

    _name_by_order(model)
    target = folder / "model.xml"
    openvino.save_model(model, target, compress_to_fp16=compress_to_fp16)
    return target


def _name_by_order(model: Model) -> None:
    """Names the nodes by their position.

    OpenVINO numbers unnamed nodes with a counter of the process, so that the bytes of a file would
    depend on earlier conversions.
    """
    for index, node in enumerate(model.get_ordered_ops()):
        if node.get_type_name() not in ("Parameter", "Result"):
            node.set_friendly_name(f"{node.get_type_name()}_{index}")


def _quantize(candidate: Candidate, model: Model, calibration: NDArray[np.uint8]) -> Model:
    import nncf
    import rich
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    options = candidate.options
    nncf.disable_logging()
    console = rich.get_console()  # of NNCF's progress bars
    before, console.quiet = console.quiet, True
    try:
        with quiet(log):
            if not isinstance(options, StaticOptions):
                return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)
            return nncf.quantize(
                model,
                nncf.Dataset(range(len(calibration)), lambda i: {"images": calibration[i : i + 1]}),
                preset=nncf.QuantizationPreset(options.preset),
                subset_size=len(calibration),
                fast_bias_correction=options.bias_correction == "fast",
                advanced_parameters=AdvancedQuantizationParameters(
                    overflow_fix=OverflowFix.ENABLE
                    if options.reduce_range
                    else OverflowFix.DISABLE,
                    activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
                ),
            )
    finally:
        console.quiet = before


def _find_weighted(source: Path, model: Model) -> dict[str, Layer]:
    """Layers of the exported student by the names of their operators in the OpenVINO model.

    The model's nodes are renamed by position; NNCF keeps these names.
    """
    import onnx

    layers = {layer.nodes[0]: layer for layer in find_layers(onnx.load(source))}
    found = []
    for op in model.get_ordered_ops():
        # Such as "node_Conv_856/WithoutBiases".
        layer = layers.get(op.get_friendly_name().partition("/")[0])
        if layer is not None and op.get_type_name() in _WEIGHTED:
            found.append((op, layer))
    _name_by_order(model)
    return {op.get_friendly_name(): layer for op, layer in found}


class _StaticVariants:
    """Static int8. NNCF runs once; its changes to the layers in float are reverted.

    NNCF takes seconds to minutes, mostly for ranges and biases. The ranges of a layer's input, its
    weights and its bias are reverted. ``weighted`` maps the names of operators, which are the same
    in both models, to layers.
    """

    def __init__(self, weighted: Mapping[str, Layer], student: Model, int8: Model) -> None:
        self._weighted = weighted
        self._student = {op.get_friendly_name(): op for op in student.get_ops()}
        self._int8 = int8
        self.layers = tuple(weighted.values())

    def write(self, folder: Path, float_layers: Collection[str] = ()) -> Path:
        model = self._int8.clone()
        kept = {name for name, layer in self._weighted.items() if layer.name in float_layers}
        if kept:
            owners = self._owners(model)
            for op in model.get_ordered_ops():
                if op.get_type_name() == "FakeQuantize" and all(
                    owners.get(user.get_friendly_name()) in kept for user in _users(op)
                ):
                    op.output(0).replace(op.input_value(0))
                elif op.get_friendly_name() in kept:
                    self._restore(op)
            model.validate_nodes_and_infer_types()
        return _save(model, folder)

    def _owners(self, model: Model) -> dict[str, str]:
        """For each operator, the last operator with weights that it depends on."""
        owners: dict[str, str] = {}
        order = list(self._weighted)
        for op in model.get_ordered_ops():
            name = op.get_friendly_name()
            inputs = [value.get_node().get_friendly_name() for value in op.input_values()]
            found = [owners[other] for other in inputs if other in owners]
            if name in self._weighted:
                owners[name] = name
            elif found:
                owners[name] = max(found, key=order.index)
        return owners

    def _restore(self, op: Node) -> None:
        """Restores the weights and the bias of an operator from the float model."""
        from openvino import opset13

        def constant(owner: Node) -> Node:
            return opset13.constant(owner.input_value(1).get_node().get_data())

        op.input(1).replace_source_output(constant(self._student[op.get_friendly_name()]).output(0))
        for user in _direct_users(op):
            second = user.input_value(1).get_node() if user.get_type_name() == "Add" else None
            if second is None or second.get_type_name() != "Constant":
                continue
            original = self._student.get(user.get_friendly_name())
            if original is None:  # a bias that NNCF added
                user.output(0).replace(op.output(0))
            else:
                user.input(1).replace_source_output(constant(original).output(0))


def _direct_users(op: Node) -> list[Node]:
    return [target.get_node() for target in op.output(0).get_target_inputs()]


def _users(op: Node) -> Iterator[Node]:
    """Operators that use the output of ``op``, directly or through ``_PASS_THROUGH`` operators."""
    for user in _direct_users(op):
        if user.get_type_name() in _PASS_THROUGH:
            yield from _users(user)
        else:
            yield user
