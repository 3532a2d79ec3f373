"""Candidates for ONNX Runtime: the student as it was exported, and static int8.

int8 is QDQ with unsigned 8-bit activations and signed weights, a scale for every output channel
(one scale for a whole depthwise layer destroys it), and ranges from the smallest and largest value
that any calibration image gives.

Weights use 7 of their 8 bits (``reduce_range``). x86 processors without VNNI add pairs of products
in 16 bits, where full weights overflow without a word; with 7 bits a file gives the same answers on
every device. Depthwise convolutions have kernels of their own that do not, and keep all 8. Measured
with mobilenetv2_035 on such a processor: 8 bits agree with fp32 on 95 % of the images (99 % where
nothing overflows), 7 bits on 97 % and this mixture on 98 % everywhere, and none is faster.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
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
        candidate: Its precision is fp32 or int8.
        source: The exported student with the candidate's batch.
        calibration: Images for int8, uint8 [n, height, width, 3] RGB.
        folder: Where to write.

    Returns:
        The file.
    """
    target = folder / "model.onnx"
    with whole_file(target) as temporary:
        if candidate.precision == "int8":
            batch = 1 if candidate.batch == 1 else _CALIBRATION_BATCH
            _quantize(source, temporary, calibration, batch)
        else:
            shutil.copyfile(source, temporary)
    return target


def _quantize(source: Path, target: Path, calibration: NDArray[np.uint8], batch: int) -> None:
    turn_off()
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._batches: Iterator[NDArray[np.uint8]] = (
                calibration[start : start + batch] for start in range(0, len(calibration), batch)
            )

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            images = next(self._batches, None)
            return None if images is None else {"images": images}

    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        # The exporter has written the shapes; inferring them again needs sympy and seconds.
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        model = onnx.load(prepared)
        eight_bits = {"quant_type": QuantType.QInt8, "axis": 0, "reduce_range": False}
        quantize_static(
            prepared,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            calibrate_method=CalibrationMethod.MinMax,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            nodes_to_exclude=_kept_in_float(model),
            extra_options={
                # Logits in steps of 1/255 of their range would tie.
                "OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"],
                "TensorQuantOverrides": {name: [eight_bits] for name in _depthwise_weights(model)},
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
