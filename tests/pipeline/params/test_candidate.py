import pytest
from pydantic import ValidationError

from pipeline.params import Candidate


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "fp32", "types": "u8u8"}, "fp32 has no option types"),
        ({"precision": "fp16", "method": "qat"}, "fp16 has no option method"),
        ({"runtime": "openvino", "types": "u8u8"}, "static .*openvino has no option types: bias"),
        ({"preset": "mixed"}, "static .*onnxruntime has no option preset: calibration, format"),
        ({"method": "dynamic", "per_channel": False}, "no option per_channel: reduce_range"),
        ({"method": "qat", "reduce_range": False}, "qat .*onnxruntime has no option reduce_range"),
        (
            {"runtime": "openvino", "method": "weights", "reduce_range": False},
            "weights .*openvino has no option reduce_range",
        ),
        ({"format": "qoperator", "types": "u8u8"}, "per_channel to false, or types to u8s8"),
        ({"method": "weights"}, "'weights'.*precision fp16"),
        ({"runtime": "openvino", "method": "dynamic"}, "'dynamic'.*static"),
        ({"method": "aware"}, "'aware'.*now qat"),
        ({"runtime": "onnxrutnime"}, "'onnxrutnime'.*onnxruntime"),
        ({"tpyes": "u8u8"}, "'tpyes'.*types"),
    ],
)
def test_what_a_runtime_cannot_do_is_refused(options, message):
    values = {"name": "x", "runtime": "onnxruntime", "precision": "int8", **options}
    with pytest.raises(ValidationError, match=message):
        Candidate.model_validate(values)
