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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from finch_runtime.telemetry import turn_off
from numpy.typing import NDArray

from pipeline.files import whole_file
from pipeline.params import Candidate

if TYPE_CHECKING:
    from onnx import ModelProto

_CALIBRATION_BATCH = 16


def make_model(
    candidate: Candidate, source: Path, calibration: NDArray[np.uint8], folder: Path
) -> Path:
    """Writes ``model.onnx``.

    Args:
        candidate: Its precision and, of int8, its options.
        source: The exported student with the candidate's batch.
        calibration: Images for int8, uint8 [n, height, width, 3] RGB.
        folder: Where to write.

    Returns:
        The file.
    """
    target = folder / "model.onnx"
    with whole_file(target) as temporary:
        if candidate.precision == "int8":
            _quantize(candidate, source, temporary, calibration)
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


def _quantize(
    candidate: Candidate, source: Path, target: Path, calibration: NDArray[np.uint8]
) -> None:
    turn_off()
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        # The exporter has written the shapes; inferring them again needs sympy and seconds.
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        model = onnx.load(prepared)
        if candidate.method == "static":
            _quantize_static(candidate, prepared, model, target, calibration)
        else:
            quantize_dynamic(
                prepared,
                target,
                weight_type=QuantType.QUInt8,
                reduce_range=candidate.reduce_range,
                nodes_to_exclude=_kept_in_float(model),
            )


def _quantize_static(
    candidate: Candidate,
    prepared: Path,
    model: ModelProto,
    target: Path,
    calibration: NDArray[np.uint8],
) -> None:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    # Histograms are gathered of batches of one size only.
    single = candidate.batch == 1 or candidate.calibration != "minmax"
    batch = 1 if single else _CALIBRATION_BATCH

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._batches: Iterator[NDArray[np.uint8]] = (
                calibration[start : start + batch] for start in range(0, len(calibration), batch)
            )

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            images = next(self._batches, None)
            return None if images is None else {"images": images}

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
        prepared,
        target,
        Reader(),
        quant_format=formats[candidate.format],
        calibrate_method=methods[candidate.calibration],
        activation_type=activations,
        weight_type=weights,
        per_channel=candidate.per_channel,
        reduce_range=candidate.reduce_range,
        nodes_to_exclude=_kept_in_float(model),
        extra_options={
            # Logits in steps of 1/255 of their range would tie.
            "OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"],
            # Kernels with a scale a channel want one zero for all of them.
            "WeightSymmetric": True,
            # Integer operators have no types of single tensors.
            "TensorQuantOverrides": {name: [eight_bits] for name in _depthwise_weights(model)}
            if candidate.format == "qdq"
            else {},
        },
    )


def _kept_in_float(model: ModelProto) -> list[str]:
    """Names of the preprocessing nodes, which come before the first weights, and of softmax."""
    nodes = model.graph.node
    before = itertools.takewhile(lambda n: n.op_type not in ("Conv", "Gemm", "MatMul"), nodes)
    return [*(n.name for n in before), *(n.name for n in nodes if n.op_type == "Softmax")]


def _depthwise_weights(model: ModelProto) -> list[str]:
    """Names of the weights of convolutions in which each channel sees itself alone."""
    shapes = {weights.name: tuple(weights.dims) for weights in model.graph.initializer}
    groups = {
        node.input[1]: attribute.i
        for node in model.graph.node
        if node.op_type == "Conv"
        for attribute in node.attribute
        if attribute.name == "group"
    }
    return [name for name, group in groups.items() if shapes.get(name, ())[:2] == (group, 1)]
