"""Candidates for ONNX Runtime: fp32, fp16 weights, and int8.

fp16 halves the file size: weights are stored in 16 bits and cast to float32 when they are loaded,
because the CPU kernels compute in float32.

The defaults of static int8 are QDQ with unsigned activations, signed weights with a scale per
output channel (one scale per depthwise layer destroys its accuracy), and min-max calibration.
Dynamic int8 has unsigned weights: there is no ConvInteger kernel for signed ones.

With ``reduce_range`` weights use 7 of 8 bits. x86 processors without VNNI add pairs of products in
16 bits, where 8-bit weights saturate silently; 7-bit weights give the same results on every device.
Depthwise convolutions have other kernels, which do not saturate, and keep 8 bits. Measured with
mobilenetv2_035 on a processor without VNNI: agreement with fp32 is 95 % with 8 bits (99 % without
saturation), 97 % with 7 bits, 98 % with this combination; latency is the same.
"""

from __future__ import annotations

import itertools
import math
import shutil
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from finch_runtime.errors import last_line
from finch_runtime.telemetry import turn_off
from numpy.typing import NDArray
from pydantic import Field, model_validator

from pipeline.errors import QuantizationError
from pipeline.export.onnx_versions import save_with_lowest_versions
from pipeline.params import Candidate
from pipeline.plugins import RUNTIMES
from pipeline.plugins.section import Section
from pipeline.quantize.layers import find_layers
from pipeline.quantize.runtimes.base import CandidateRuntime, ReduceRange, Variants

if TYPE_CHECKING:
    from onnx import ModelProto


class DynamicOptions(Section):
    """Options of dynamic int8."""

    reduce_range: ReduceRange = True


class StaticOptions(DynamicOptions):
    """Options of static int8."""

    calibration: Literal["minmax", "entropy", "percentile"] = Field(
        "minmax", description="Calibration method."
    )
    format: Literal["qdq", "qoperator"] = Field(
        "qdq", description="QDQ nodes (`qdq`) or quantized operators (`qoperator`)."
    )
    per_channel: bool = Field(True, description="One weight scale per output channel.")
    types: Literal["u8s8", "u8u8", "s8s8"] = Field(
        "u8s8",
        description="Types of activations and weights: `u8s8` has uint8 activations and int8 "
        "weights.",
    )

    @model_validator(mode="after")
    def _kernel_exists(self) -> StaticOptions:
        if self.format == "qoperator" and self.types == "u8u8" and self.per_channel:
            raise ValueError(
                "format qoperator supports per_channel with signed weights only; set per_channel "
                "to false, or types to u8s8"
            )
        return self


@RUNTIMES.register("onnxruntime")
class OnnxRuntime(CandidateRuntime):
    """Candidates for ONNX Runtime."""

    package = "onnxruntime"
    int8_methods: ClassVar[dict[str, type[Section]]] = {
        "static": StaticOptions,
        "dynamic": DynamicOptions,
        "qat": Section,
    }
    unsupported: ClassVar[dict[str, str]] = {
        "weights": "it casts int8 weights to fp32 when it loads them; use precision fp16 for a "
        "smaller file, or runtime openvino"
    }
    mixed_precision = True

    def make(
        self, candidate: Candidate, source: Path, calibration: NDArray[np.uint8], folder: Path
    ) -> Path:
        """Writes ``model.onnx``."""
        target = folder / "model.onnx"
        if isinstance(candidate.options, StaticOptions):
            with self.open_variants(candidate, source, calibration) as variants:
                return variants.write(folder)
        if isinstance(candidate.options, DynamicOptions):
            _quantize_dynamic(candidate, source, target)
        elif candidate.precision == "fp16":
            _store_as_fp16(source, target)
        else:
            shutil.copyfile(source, target)
        return target

    @contextmanager
    def open_variants(
        self, candidate: Candidate, source: Path, calibration: NDArray[np.uint8]
    ) -> Iterator[Variants]:
        """Calibrates once, for all variants."""
        turn_off()
        with tempfile.TemporaryDirectory() as scratch:
            yield _StaticVariants(candidate, source, calibration, Path(scratch))


def _store_as_fp16(source: Path, target: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(source)
    graph = model.graph
    for weights in graph.initializer:
        # Biases and the constants of the preprocessing are too small to matter.
        is_large = len(weights.dims) > 1 and math.prod(weights.dims) >= 256
        if weights.data_type != TensorProto.FLOAT or not is_large:
            continue
        name, values = weights.name, numpy_helper.to_array(weights)
        half, widen = f"{name}.half", f"{name}.widen"
        weights.CopyFrom(numpy_helper.from_array(values.astype(np.float16), half))
        cast = helper.make_node("Cast", [half], [name], name=widen, to=TensorProto.FLOAT)
        graph.node.insert(0, cast)
    save_with_lowest_versions(model, target)


class _StaticVariants:
    """Static int8; the ranges are cached in ``scratch`` for all variants."""

    def __init__(
        self, candidate: Candidate, source: Path, calibration: NDArray[np.uint8], scratch: Path
    ) -> None:
        import onnx

        assert isinstance(candidate.options, StaticOptions)
        self._options = candidate.options
        self._calibration = calibration
        # Histograms need batches of the same size.
        single = candidate.batch == 1 or self._options.calibration != "minmax"
        self._batch = 1 if single else 16
        self._ranges = scratch / "ranges.json"
        self._prepared = scratch / "prepared.onnx"
        _preprocess(candidate, source, self._prepared)
        self._model = onnx.load(self._prepared)
        self.layers = find_layers(self._model)

    def write(self, folder: Path, float_layers: Collection[str] = ()) -> Path:
        import onnx

        kept = [layer for layer in self.layers if layer.name in float_layers]
        nodes = [node for layer in kept for node in layer.nodes]
        target = folder / "model.onnx"
        self._quantize(target, nodes)
        model = onnx.load(target)
        _prevent_requantization(model, nodes)
        save_with_lowest_versions(model, target)
        return target

    def _quantize(self, target: Path, float_nodes: Sequence[str]) -> None:
        from onnxruntime import quantization

        options = self._options
        methods = {method.name.lower(): method for method in quantization.CalibrationMethod}
        types = {"u8": quantization.QuantType.QUInt8, "s8": quantization.QuantType.QInt8}
        activations, weights = types[options.types[:2]], types[options.types[2:]]
        formats = {form.name.lower(): form for form in quantization.QuantFormat}
        eight_bits = {"quant_type": weights, "reduce_range": False}
        if options.per_channel:
            eight_bits["axis"] = 0
        starts = range(0, len(self._calibration), self._batch)
        batches = ({"images": self._calibration[i : i + self._batch]} for i in starts)
        # QOperator does not support `TensorQuantOverrides`.
        depthwise = _depthwise_weights(self._model, float_nodes) if options.format == "qdq" else []
        quantization.quantize_static(
            self._prepared,
            target,
            SimpleNamespace(get_next=lambda: next(batches, None)),  # a CalibrationDataReader
            quant_format=formats[options.format],
            calibrate_method=methods[options.calibration],
            calibration_cache_path=self._ranges,
            activation_type=activations,
            weight_type=weights,
            per_channel=options.per_channel,
            reduce_range=options.reduce_range,
            nodes_to_exclude=[*_ignored_nodes(self._model), *float_nodes],
            extra_options={
                # Quantized logits have 256 levels, so that classes would tie.
                "OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"],
                # Per-channel kernels need one zero point for all channels.
                "WeightSymmetric": True,
                "TensorQuantOverrides": {name: [eight_bits] for name in depthwise},
            },
        )


def _prevent_requantization(model: ModelProto, float_nodes: Collection[str]) -> None:
    """Prevents ONNX Runtime from quantizing float layers; modifies the model.

    At load time it quantizes the weights of any Conv or Gemm between DequantizeLinear and
    QuantizeLinear, with one scale per tensor. A Max that changes no value separates the two.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    quantized = {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    outputs = {output.name for output in graph.output}
    lowest = numpy_helper.from_array(np.array(np.finfo(np.float32).min), "lowest_float")
    if float_nodes:
        graph.initializer.append(lowest)
    for index, node in reversed(list(enumerate(graph.node))):
        weighted = node.name in float_nodes and node.op_type in ("Conv", "ConvTranspose", "Gemm")
        if weighted and node.input[0] in quantized and node.output[0] not in outputs:
            output = node.output[0]
            node.output[0] = f"{output}.in_float"
            inputs = [node.output[0], lowest.name]
            separator = helper.make_node("Max", inputs, [output], name=f"{node.name}.in_float")
            graph.node.insert(index + 1, separator)


def _quantize_dynamic(candidate: Candidate, source: Path, target: Path) -> None:
    turn_off()
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    assert isinstance(candidate.options, DynamicOptions)
    with tempfile.TemporaryDirectory() as scratch:
        prepared = Path(scratch) / "prepared.onnx"
        _preprocess(candidate, source, prepared)
        quantize_dynamic(
            prepared,
            target,
            weight_type=QuantType.QUInt8,
            reduce_range=candidate.options.reduce_range,
            nodes_to_exclude=_ignored_nodes(onnx.load(prepared)),
        )
    save_with_lowest_versions(onnx.load(target), target)


def _preprocess(candidate: Candidate, source: Path, target: Path) -> None:
    import onnxruntime
    from onnxruntime.quantization.shape_inference import quant_pre_process

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised as well
    try:
        # `quant_pre_process` would log the error and continue.
        onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base class
        problem = f"onnxruntime cannot run the student: {last_line(error)}"
        remedy = "choose another runtime, or another model"
        raise QuantizationError(candidate.name, problem, remedy) from error
    # The file contains all shapes; symbolic inference would require sympy.
    quant_pre_process(source, target, skip_symbolic_shape=True)


def _ignored_nodes(model: ModelProto) -> list[str]:
    """Names of the preprocessing nodes, which precede the first weights, and of softmax."""
    nodes = model.graph.node
    before = itertools.takewhile(lambda n: n.op_type not in ("Conv", "Gemm", "MatMul"), nodes)
    return [*(n.name for n in before), *(n.name for n in nodes if n.op_type == "Softmax")]


def _depthwise_weights(model: ModelProto, float_nodes: Collection[str]) -> list[str]:
    """Names of the weights of quantized depthwise convolutions."""
    shapes = {weights.name: tuple(weights.dims) for weights in model.graph.initializer}
    groups = {
        node.input[1]: attribute.i
        for node in model.graph.node
        if node.op_type == "Conv" and node.name not in float_nodes
        for attribute in node.attribute
        if attribute.name == "group"
    }
    return [name for name, group in groups.items() if shapes.get(name, ())[:2] == (group, 1)]
