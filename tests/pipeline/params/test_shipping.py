from pipeline.params import load_params
from tests.pipeline.params.own_file import FILE, refusal


def test_the_reference_is_the_onnxruntime_fp32_candidate():
    candidates = (
        "[{name: b, runtime: openvino, precision: fp32}, {name: c, runtime: onnxruntime,"
        " precision: int8}, {name: a, runtime: onnxruntime, precision: fp32}]"
    )
    params = load_params(FILE, [f"quantize.candidates={candidates}"])
    assert [c.name for c in params.quantize.candidates if c.is_reference] == ["a"]


def test_a_bound_below_the_drop_is_refused():
    assert "max_drop_bound 2 is below max_drop 3" in refusal(FILE, "bundle.max_drop=3")
    assert load_params(FILE, ["bundle.max_drop=3", "bundle.max_drop_bound=3"]).bundle.max_drop == 3


def test_the_name_of_a_mixed_candidate_is_reserved():
    taken = (
        "quantize.candidates=[{name: a, runtime: onnxruntime, precision: fp32}, {name: b, runtime:"
        " onnxruntime, precision: int8}, {name: b-mixed, runtime: openvino, precision: fp16}]"
    )
    message = refusal(FILE, taken)
    assert "'b-mixed'" in message and "quantize.mixed_precision.enabled" in message
    assert load_params(FILE, [taken, "quantize.mixed_precision.enabled=false"]).quantize.candidates


def test_impossible_limits_of_rounds_are_refused():
    assert "max_rounds 4" in refusal(FILE, "evaluate.max_rounds=4")
    assert "evaluate.max_half_width" in refusal(FILE, "evaluate.max_half_width=1.0")


def test_limits_of_accuracy_and_recall_are_fractions():
    for key in ("bundle.min_accuracy", "bundle.min_class_recall"):
        assert key in refusal(FILE, f"{key}=90")
        assert load_params(FILE, [f"{key}=0.9"])
    assert load_params(FILE).bundle.min_class_recall is None
