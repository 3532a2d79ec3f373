import json
import math

import pytest

from pipeline.files import read_json
from pipeline.report.facts import summary


def test_the_summary_is_flat_and_agrees_with_the_files(run):
    figures = summary(run.read())
    assert json.loads(json.dumps(figures)) == figures
    assert all(type(value) in (int, float) and math.isfinite(value) for value in figures.values())

    verified = read_json(run.reports / "verify.json")
    evaluation = read_json(run.reports / "evaluations/local.json")
    shipped = next(m for m in evaluation["candidates"] if m["name"] == "openvino-int8-b1")
    rounds = zip(
        evaluation["teacher"]["latency"]["round_ratios"]["p50"],
        shipped["latency"]["round_ratios"]["p50"],
        strict=True,
    )
    assert figures["test_accuracy"] == verified["shipped"]["accuracy"]
    assert figures["test_balanced_accuracy"] == verified["shipped"]["balanced_accuracy"]
    assert figures["p50_ms"] == shipped["latency"]["p50_ms"]
    assert figures["model_bytes"] == 701_640
    assert figures["size_ratio"] == pytest.approx(13_531_207 / 701_640)
    assert figures["multiply_add_ratio"] == pytest.approx(71_234_567 / 10_812_345)
    geometric_mean = math.prod(teacher / own for teacher, own in rounds) ** (1 / 7)
    assert figures["speedup"] == pytest.approx(geometric_mean)


def test_without_the_teacher_on_the_device_the_speedup_is_left_out(run):
    complete = summary(run.read())
    run.remove_teacher()
    figures = summary(run.read())
    assert complete.keys() - figures.keys() == {"speedup"}
    assert all(complete[name] == value for name, value in figures.items())
