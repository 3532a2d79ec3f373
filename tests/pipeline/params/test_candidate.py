import pytest
from pydantic import ValidationError

from pipeline.params import Candidate


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"precision": "fp32", "types": "u8u8"}, "fp32 has no option types: it is for int8"),
        (
            {"runtime": "openvino", "types": "u8u8"},
            "static int8 by openvino has no option types: accuracy_control, bias_correction",
        ),
        (
            {"runtime": "onnxruntime", "preset": "mixed"},
            "static int8 by onnxruntime has no option preset: calibration, format",
        ),
        ({"accuracy_control": True}, "static int8 by onnxruntime has no option accuracy_control"),
        ({"method": "dynamic", "per_channel": False}, "has no option per_channel: reduce_range"),
        ({"format": "qoperator", "types": "u8u8"}, "for signed weights only"),
        ({"method": "weights"}, "turns int8 weights into fp32 as it loads them"),
        ({"runtime": "openvino", "method": "dynamic"}, "need the ranges beforehand"),
        ({"precision": "fp16", "method": "qat"}, "fp16 has no option method: it is for int8"),
        (
            {"method": "qat", "reduce_range": False},
            "aware int8 by onnxruntime has no option reduce_range: no options",
        ),
        (
            {"runtime": "openvino", "method": "weights", "reduce_range": False},
            "weights int8 by openvino has no option reduce_range: no options",
        ),
    ],
)
def test_what_a_runtime_cannot_do_is_refused(options, says):
    described = {"name": "x", "runtime": "onnxruntime", "precision": "int8", **options}
    with pytest.raises(ValidationError, match=says):
        Candidate.model_validate(described)
