"""Requests and results as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from finch_runtime.errors import RuntimeProblem
from finch_runtime.protocol import (
    PROTOCOL,
    REQUESTS,
    BenchmarkPlan,
    BenchmarkRequest,
    BenchmarkResult,
    ComparePlan,
    CompareRequest,
    CompareResult,
    Conditions,
    Energy,
    ModelSource,
    ModelTiming,
    PredictRequest,
    PredictResult,
    Rate,
    Sustained,
    SustainedStep,
    from_json,
    to_json,
)

MODEL = ModelSource("model.onnx", "onnxruntime")
CONDITIONS = Conditions(51.5, None)
TIMING = ModelTiming(
    *("onnxruntime", "1.2.3", 1, {"spinning": "0"}, 0.5, 0.25, [[0.5, 0.75], [1.0, 0.25]]),
    *(Energy(None, 0, "not measured"), 10, None, 30),
)
SUSTAINED = Sustained(9, [SustainedStep(1.5, 2.5, CONDITIONS)], 0.125, Energy(2.5, 9, "rapl"))

MESSAGES = [
    PredictRequest(ModelSource("bundle"), "images.npy", 2, "logits.npy"),
    BenchmarkRequest(MODEL, "images.npy", 1, BenchmarkPlan(batches=[1, 4], sustained_s=0.5)),
    CompareRequest([MODEL, MODEL], "images.npy", 1, ComparePlan(seed=3)),
    PredictResult(7, 5),
    BenchmarkResult(TIMING, [CONDITIONS] * 2, [Rate(1, 12.5)], SUSTAINED),
    BenchmarkResult(TIMING, [CONDITIONS] * 2, [], None),
    CompareResult([TIMING, TIMING], [CONDITIONS]),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_survives_the_round_trip(message: Any) -> None:
    text = to_json(message)
    assert "\n" not in text
    assert from_json(text, type(message)) == message


def test_integers_are_valid_numbers_and_plans_have_defaults() -> None:
    value = json.loads(to_json(BenchmarkRequest(MODEL, "images.npy", 1, BenchmarkPlan())))
    value["plan"] = {"sustained_s": 3}
    assert from_json(json.dumps(value), *REQUESTS) == BenchmarkRequest(
        MODEL, "images.npy", 1, BenchmarkPlan(sustained_s=3.0)
    )


Change = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda v: v.update(protocol=99), rf"protocol: .*99.* {PROTOCOL}; "),
        (lambda v: v.pop("protocol"), r"protocol: .*None"),
        (lambda v: v.update(type="DanceRequest"), r"'DanceRequest'.*PredictRequest or "),
        (lambda v: v.update(thraeds=3), r"CompareRequest\.thraeds: .*threads"),
        (lambda v: v.pop("images"), r"CompareRequest\.images: .*missing"),
        (lambda v: v.update(threads="1"), r"CompareRequest\.threads: '1'.*int"),
        (lambda v: v.update(threads=True), r"CompareRequest\.threads: True"),
        (lambda v: v.update(models={}), r"CompareRequest\.models: \{\}.*list"),
        (lambda v: v["models"].append(3), r"CompareRequest\.models\[1\]: 3"),
        (lambda v: v["models"][0].update(runtime=3), r"models\[0\]\.runtime: 3.*str"),
        (lambda v: v["plan"].update(runs=0), r"runs: 0.* 1 to 1000000"),
        (lambda v: v["plan"].update(turns=10**9), r"turns: 1000000000 is out of range"),
        (lambda v: v["plan"].update(warmup_s=1e9), r"warmup_s: 1000000000\.0 is out of range"),
        (lambda v: v["plan"].update(warmup_s=10**400), r"warmup_s: 10+ "),
        (lambda v: v["plan"].update(warmup_s=-0.5), r"warmup_s: -0\.5"),
        (lambda v: v["plan"].update(warmup_s=float("inf")), r"warmup_s: inf"),
    ],
)
def test_an_invalid_value_is_named(change: Change, match: str) -> None:
    value = json.loads(to_json(CompareRequest([MODEL], "images.npy", 1, ComparePlan())))
    change(value)
    with pytest.raises(RuntimeProblem, match=match) as caught:
        from_json(json.dumps(value), *REQUESTS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", "[" * 100_000])
def test_text_that_is_not_a_json_object_is_rejected(text: str) -> None:
    with pytest.raises(RuntimeProblem, match="PredictResult: not"):
        from_json(text, PredictResult)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_rejected(number: str) -> None:
    text = to_json(CompareResult([TIMING], [CONDITIONS])).replace("51.5", number)
    with pytest.raises(RuntimeProblem, match=r"conditions\[0\]\.temperature_c: .*not finite"):
        from_json(text, CompareResult)
