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
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from finch_runtime.errors import said_by
from finch_runtime.telemetry import turn_off
from numpy.typing import NDArray

from pipeline.errors import QuantizationError
from pipeline.measure.accuracy import correct
from pipeline.params import Candidate
from pipeline.quantize.node_names import name_in_order
from pipeline.quantize.openvino_variants import OpenVINOVariants, find_weighted
from pipeline.quantize.validation import CandidateValidator
from pipeline.quantize.variants import Variants
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
        source: The exported student with the candidate's batch; of method qat the recovered one.
        calibration: Images for int8, uint8 [n, height, width, 3] RGB.
        folder: Where to write; to be renamed or thrown away as a whole.

    Returns:
        The ``.xml`` file.

    Raises:
        QuantizationError: OpenVINO cannot run the student; the message names what it lacks.
    """
    model = _read(candidate, source)
    name_in_order(model)
    if candidate.precision == "int8" and candidate.method != "qat":
        model = _quantize(candidate, model, calibration)
    return _write(model, folder, half=candidate.precision == "fp16")


@contextmanager
def open_variants(
    candidate: Candidate, source: Path, calibration: NDArray[np.uint8]
) -> Iterator[Variants]:
    """Static int8 with any of its layers in float; NNCF runs once, for all of them.

    Args:
        candidate: Its options.
        source: The exported student with the candidate's batch.
        calibration: Images, uint8 [n, height, width, 3] RGB.

    Raises:
        QuantizationError: OpenVINO cannot run the student; the message names what it lacks.
    """
    model = _read(candidate, source)
    yield OpenVINOVariants(
        find_weighted(source, model),
        model,
        _quantize(candidate, model.clone(), calibration),
        _write,
    )


def make_controlled(
    candidate: Candidate,
    source: Path,
    calibration: NDArray[np.uint8],
    folder: Path,
    judge: CandidateValidator,
) -> tuple[Path, tuple[str, ...]]:
    """Writes int8 as NNCF's accuracy control leaves it: as ``make_model``.

    Args:
        candidate: Its options.
        source: The exported student with the candidate's batch.
        calibration: Images, uint8 [n, height, width, 3] RGB.
        folder: Where to write; to be renamed or thrown away as a whole.
        judge: Has the validation images and the largest accepted loss.

    Returns:
        The ``.xml`` file, and the names of the layers whose weights are in float.

    Raises:
        QuantizationError: OpenVINO cannot run the student; the message names what it lacks.
    """
    model = _read(candidate, source)
    weighted = find_weighted(source, model)
    model = _quantize(candidate, model, calibration, judge)
    ops = {op.get_friendly_name(): op for op in model.get_ops()}
    in_float = tuple(
        layer.name
        for name, layer in weighted.items()
        if ops[name].input_value(1).get_node().get_type_name() == "Constant"
    )
    return _write(model, folder), in_float


def _read(candidate: Candidate, source: Path) -> Model:
    turn_off()
    import openvino

    try:
        # Not `Core.read_model`, which leaves ONNX's decompositions unfolded: twice the file, and
        # NNCF finds no bias to correct in it.
        return openvino.convert_model(source)
    except Exception as error:  # the runtime's errors have no class of their own
        raise QuantizationError(
            candidate.name,
            f"openvino cannot run the student: {_lacking(error)}",
            "choose another runtime, or another model",
        ) from error


def _lacking(error: Exception) -> str:
    """The line of a long message that names unknown operators, where there is one."""
    unknown = [line for line in str(error).splitlines() if "No conversion rule" in line]
    return unknown[0].lstrip("- ") if unknown else said_by(error)


def _write(model: Model, folder: Path, *, half: bool = False) -> Path:
    import openvino

    name_in_order(model)
    target = folder / "model.xml"
    openvino.save_model(model, target, compress_to_fp16=half)
    return target


def _quantize(
    candidate: Candidate,
    model: Model,
    calibration: NDArray[np.uint8],
    judge: CandidateValidator | None = None,
) -> Model:
    import nncf
    import rich
    from nncf.quantization.advanced_parameters import (
        AdvancedAccuracyRestorerParameters,
        AdvancedQuantizationParameters,
        OverflowFix,
    )
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    images = nncf.Dataset(range(len(calibration)), lambda i: {"images": calibration[i : i + 1]})
    nncf.disable_logging()
    console = rich.get_console()  # NNCF's progress bars go there
    before, console.quiet = console.quiet, True
    try:
        with quiet(log):
            if candidate.method == "weights":
                return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)
            options = {
                "preset": nncf.QuantizationPreset(candidate.preset),
                "subset_size": len(calibration),
                "fast_bias_correction": candidate.bias_correction == "fast",
            }
            advanced = AdvancedQuantizationParameters(
                overflow_fix=OverflowFix.ENABLE if candidate.reduce_range else OverflowFix.DISABLE,
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
            )
            if judge is None:
                return nncf.quantize(model, images, advanced_parameters=advanced, **options)
            return nncf.quantize_with_accuracy_control(
                model,
                images,
                # Items go to `_accuracy_of`; what is made of them, to the model itself.
                nncf.Dataset(
                    range(len(judge.labels)), lambda i: {"images": judge.images[i : i + 1]}
                ),
                _accuracy_of(judge),
                max_drop=judge.max_drop / 100,
                advanced_quantization_parameters=advanced,
                # As many as processors are free would be taken, and each holds a model.
                advanced_accuracy_restorer_parameters=AdvancedAccuracyRestorerParameters(
                    num_ranking_workers=1
                ),
                **options,
            )
    finally:
        console.quiet = before


def _accuracy_of(
    judge: CandidateValidator,
) -> Callable[[Any, Iterable[int]], tuple[float, list[Any]]]:
    """What NNCF asks of a model: its accuracy, and by its logits how far layers are off."""

    def validate(model: Any, places: Iterable[int]) -> tuple[float, list[Any]]:
        places = list(places)
        logits = [model({"images": judge.images[i : i + 1]})["logits"].copy() for i in places]
        right = correct(np.concatenate(logits), judge.labels[places])
        return float(right.mean()), [[values] for values in logits]

    return validate
