"""Candidates for ONNX Runtime: the student as it was exported, with fp16 weights, and int8.

fp16 is a smaller file and nothing else: the weights are stored in 16 bits and widened as the
runtime loads them, for its CPU kernels compute in 32.

Unless the candidate says otherwise int8 is QDQ with unsigned 8-bit activations and signed weights,
a scale for every output channel (one scale for a whole depthwise layer destroys it), and ranges
from the smallest and largest value that any calibration image gives. Dynamic int8 has unsigned
weights: the runtime has no kernel for its convolutions with signed ones.

Weights use 7 of their 8 bits (``reduce_range``). x86 processors without VNNI add pairs of products
in 16 bits, where full weights overflow without a word; with 7 bits a file gives the same answers on
every device. Depthwise convolutions have kernels of their own that do not, and keep all 8. Measured
with mobilenetv2_035 on such a processor: 8 bits agree with fp32 on 95 % of the images (99 % where
nothing overflows), 7 bits on 97 % and this mixture on 98 % everywhere, and none is faster.
"""

from __future__ import annotations

import itertools
import math
import shutil
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from finch_runtime.errors import said_by
from finch_runtime.telemetry import turn_off
from numpy.typing import NDArray

from pipeline.errors import QuantizationError
from pipeline.files import whole_file
from pipeline.params import Candidate
from pipeline.quantize.layers import find_layers
from pipeline.quantize.variants import Variants

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime.quantization import CalibrationDataReader

_CALIBRATION_BATCH = 16


def make_model(
    candidate: Candidate, source: Path, calibration: NDArray[np.uint8], folder: Path
) -> Path:
    """Writes ``model.onnx``.

    Args:
        candidate: Its precision and, of int8, its options.
        source: The exported student with the candidate's batch; of method qat the recovered one.
        calibration: Images for int8, uint8 [n, height, width, 3] RGB.
        folder: Where to write.

    Returns:
        The file.
    """
    if candidate.precision == "int8" and candidate.method == "static":
        with open_variants(candidate, source, calibration) as variants:
            return variants.write(folder)
    target = folder / "model.onnx"
    with whole_file(target) as temporary:
        if candidate.precision == "int8" and candidate.method == "dynamic":
            _quantize_dynamic(candidate, source, temporary)
        elif candidate.precision == "fp16":
            _store_in_half(source, temporary)
        else:
            shutil.copyfile(source, temporary)
    return target


def _store_in_half(source: Path, target: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(source)
    graph = model.graph
    wide = [w for w in graph.initializer if w.data_type == TensorProto.FLOAT and _is_large(w.dims)]
    for weights in wide:
        name, values = weights.name, numpy_helper.to_array(weights)
        weights.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        cast = helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT)
        cast.name = f"{name}.widen"
        graph.node.insert(0, cast)
    onnx.save(model, target)


def _is_large(shape: Sequence[int]) -> bool:
    """Whether weights weigh; biases and the preprocessing's constants do not."""
    return len(shape) > 1 and math.prod(shape) >= 256


@contextmanager
def open_variants(
    candidate: Candidate, source: Path, calibration: NDArray[np.uint8]
) -> Iterator[Variants]:
    """Static int8 with any of its layers in float; the ranges are found once, for all of them.

    Args:
        candidate: Its options.
        source: The exported student with the candidate's batch.
        calibration: Images, uint8 [n, height, width, 3] RGB.

    Raises:
        QuantizationError: ONNX Runtime cannot run the student; the message names what it lacks.
    """
    turn_off()
    with tempfile.TemporaryDirectory() as scratch:
        yield _Variants(candidate, source, calibration, Path(scratch))


class _Variants:
    def __init__(
        self, candidate: Candidate, source: Path, calibration: NDArray[np.uint8], scratch: Path
    ) -> None:
        import onnx

        self._candidate = candidate
        self._calibration = calibration
        self._ranges = scratch / "ranges.json"
        self._prepared = scratch / "prepared.onnx"
        _prepare(candidate, source, self._prepared)
        self._model = onnx.load(self._prepared)
        self.layers = find_layers(self._model)

    def write(self, folder: Path, in_float: Collection[str] = ()) -> Path:
        kept = [node for layer in self.layers if layer.name in in_float for node in layer.nodes]
        target = folder / "model.onnx"
        with whole_file(target) as temporary:
            self._quantize(temporary, kept)
            if kept:
                _keep_from_requantizing(temporary, kept)
        return target

    def _quantize(self, target: Path, kept: Sequence[str]) -> None:
        from onnxruntime.quantization import (
            CalibrationMethod,
            QuantFormat,
            QuantType,
            quantize_static,
        )

        candidate = self._candidate
        formats = {"qdq": QuantFormat.QDQ, "qoperator": QuantFormat.QOperator}
        methods = {
            "minmax": CalibrationMethod.MinMax,
            "entropy": CalibrationMethod.Entropy,
            "percentile": CalibrationMethod.Percentile,
        }
        signs = {"u8": QuantType.QUInt8, "s8": QuantType.QInt8}
        activations, weights = signs[candidate.types[:2]], signs[candidate.types[2:]]
        eight_bits = {"quant_type": weights, "reduce_range": False}
        if candidate.per_channel:
            eight_bits["axis"] = 0
        quantize_static(
            self._prepared,
            target,
            self._reader(),
            quant_format=formats[candidate.format],
            calibrate_method=methods[candidate.calibration],
            calibration_cache_path=self._ranges,
            activation_type=activations,
            weight_type=weights,
            per_channel=candidate.per_channel,
            reduce_range=candidate.reduce_range,
            nodes_to_exclude=[*_kept_in_float(self._model), *kept],
            extra_options={
                # Logits in steps of 1/255 of their range would tie.
                "OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"],
                # Kernels with a scale a channel want one zero for all of them.
                "WeightSymmetric": True,
                # Integer operators have no types of single tensors.
                "TensorQuantOverrides": {
                    name: [eight_bits] for name in _depthwise_weights(self._model, kept)
                }
                if candidate.format == "qdq"
                else {},
            },
        )

    def _reader(self) -> CalibrationDataReader:
        from onnxruntime.quantization import CalibrationDataReader

        # Histograms are gathered of batches of one size only.
        single = self._candidate.batch == 1 or self._candidate.calibration != "minmax"
        batch, calibration = 1 if single else _CALIBRATION_BATCH, self._calibration

        class Reader(CalibrationDataReader):  # type: ignore[misc]
            def __init__(self) -> None:
                self._batches: Iterator[NDArray[np.uint8]] = (
                    calibration[start : start + batch]
                    for start in range(0, len(calibration), batch)
                )

            def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
                images = next(self._batches, None)
                return None if images is None else {"images": images}

        return Reader()


def _keep_from_requantizing(path: Path, kept: Collection[str]) -> None:
    """Has ONNX Runtime compute layers in float that the file has in float.

    As it loads a file it quantises the weights of any Conv or Gemm between DequantizeLinear and
    QuantizeLinear, with one scale for all of them. An operator that changes nothing stands between.
    """
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(path)
    graph = model.graph
    quantized = {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    ends = {output.name for output in graph.output}
    lowest = numpy_helper.from_array(np.array(np.finfo(np.float32).min), "lowest_float")
    graph.initializer.append(lowest)
    nodes = []
    for node in graph.node:
        nodes.append(node)
        own = node.name in kept and node.op_type in ("Conv", "ConvTranspose", "Gemm")
        if own and node.input[0] in quantized and node.output[0] not in ends:
            output = node.output[0]
            node.output[0] = f"{output}.in_float"
            inputs = [node.output[0], lowest.name]
            nodes.append(helper.make_node("Max", inputs, [output], name=f"{node.name}.in_float"))
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    onnx.save(model, path)


def _quantize_dynamic(candidate: Candidate, source: Path, target: Path) -> None:
    turn_off()
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as scratch:
        prepared = Path(scratch) / "prepared.onnx"
        _prepare(candidate, source, prepared)
        quantize_dynamic(
            prepared,
            target,
            weight_type=QuantType.QUInt8,
            reduce_range=candidate.reduce_range,
            nodes_to_exclude=_kept_in_float(onnx.load(prepared)),
        )


def _prepare(candidate: Candidate, source: Path, target: Path) -> None:
    import onnxruntime
    from onnxruntime.quantization.shape_inference import quant_pre_process

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # whatever it would log as an error it raises as well
    try:
        # `quant_pre_process` would log what is wrong, and go on.
        onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's errors have no class of their own
        raise QuantizationError(
            candidate.name,
            f"onnxruntime cannot run the student: {said_by(error)}",
            "choose another runtime, or another model",
        ) from error
    # The exporter has written the shapes; inferring them again needs sympy and seconds.
    quant_pre_process(source, target, skip_symbolic_shape=True)


def _kept_in_float(model: ModelProto) -> list[str]:
    """Names of the preprocessing nodes, which come before the first weights, and of softmax."""
    nodes = model.graph.node
    before = itertools.takewhile(lambda n: n.op_type not in ("Conv", "Gemm", "MatMul"), nodes)
    return [*(n.name for n in before), *(n.name for n in nodes if n.op_type == "Softmax")]


def _depthwise_weights(model: ModelProto, kept: Collection[str]) -> list[str]:
    """Weights of convolutions in which each channel sees itself alone, but for nodes in float."""
    shapes = {weights.name: tuple(weights.dims) for weights in model.graph.initializer}
    groups = {
        node.input[1]: attribute.i
        for node in model.graph.node
        if node.op_type == "Conv" and node.name not in kept
        for attribute in node.attribute
        if attribute.name == "group"
    }
    return [name for name, group in groups.items() if shapes.get(name, ())[:2] == (group, 1)]
