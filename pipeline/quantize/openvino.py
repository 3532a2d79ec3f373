"""Candidates for OpenVINO: fp32, fp16 weights, and int8 by NNCF's post-training quantisation.

What int8 is unless the candidate says otherwise was chosen by agreement with fp32, of
mobilenetv2_035 on a CPU without VNNI:

- ranges from the smallest and largest value that any calibration image gives. The default takes
  the mean of the images' own extremes and so clips the images the network is surest of (error of
  the logits 0.37; 0.05 with all of them);
- weights use 7 of their 8 bits (``OverflowFix.ENABLE``), but for depthwise ones, for the reason
  given in ``pipeline.quantize.onnxruntime``: 98 % of the images keep their class, not 95 %;
- the thorough bias correction (error 0.08 with the fast one), for a few seconds more;
- symmetric activations: asymmetric ones gain nothing here.

The preprocessing stays in float: NNCF knows it for what it is.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from finch_runtime.telemetry import turn_off
from numpy.typing import NDArray

from pipeline.params import Candidate
from pipeline.quiet import quiet

if TYPE_CHECKING:
    from openvino import Model

log = logging.getLogger(__name__)


def make_model(
    candidate: Candidate, source: Path, calibration: NDArray[np.uint8], folder: Path
) -> Path:
    """Writes ``model.xml`` and ``model.bin``.

    Args:
        candidate: Its precision and, of int8, its options.
        source: The exported student with the candidate's batch.
        calibration: Images for int8, uint8 [n, height, width, 3] RGB.
        folder: Where to write; to be renamed or thrown away as a whole.

    Returns:
        The ``.xml`` file.
    """
    turn_off()
    import openvino

    # Not `Core.read_model`, which leaves ONNX's decompositions unfolded: twice the file, and NNCF
    # finds no bias to correct in it.
    model = openvino.convert_model(source)
    _name_in_order(model)
    if candidate.precision == "int8":
        model = _quantize(candidate, model, calibration)
        _name_in_order(model)
    target = folder / "model.xml"
    openvino.save_model(model, target, compress_to_fp16=candidate.precision == "fp16")
    return target


def _name_in_order(model: Model) -> None:
    """Names the nodes by their place.

    Nodes without a name are named after a counter of the process: the file would depend on what
    was made before it.
    """
    for index, node in enumerate(model.get_ordered_ops()):
        if node.get_type_name() not in ("Parameter", "Result"):
            node.set_friendly_name(f"{node.get_type_name()}_{index}")


def _quantize(candidate: Candidate, model: Model, calibration: NDArray[np.uint8]) -> Model:
    import nncf
    import rich
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    images = nncf.Dataset(range(len(calibration)), lambda i: {"images": calibration[i : i + 1]})
    nncf.disable_logging()
    console = rich.get_console()  # NNCF's progress bars go there
    before, console.quiet = console.quiet, True
    try:
        with quiet(log):
            if candidate.method == "weights":
                return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)
            return nncf.quantize(
                model,
                images,
                preset=nncf.QuantizationPreset(candidate.preset),
                subset_size=len(calibration),
                fast_bias_correction=candidate.bias_correction == "fast",
                advanced_parameters=AdvancedQuantizationParameters(
                    overflow_fix=OverflowFix.ENABLE
                    if candidate.reduce_range
                    else OverflowFix.DISABLE,
                    activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
                ),
            )
    finally:
        console.quiet = before
