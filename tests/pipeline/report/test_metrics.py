import json
import math

import pytest

from pipeline.files import read_json
from pipeline.report.metrics import run_metrics


def test_the_metrics_are_those_of_the_files(run):
    metrics = run_metrics(run.read())
    assert json.loads(json.dumps(metrics)) == metrics
    assert all(type(value) is float and math.isfinite(value) for value in metrics.values())

    verified = read_json(run.reports / "verify.json")
    evaluation = read_json(run.reports / "evaluations/local.json")
    shipped = next(m for m in evaluation["candidates"] if m["name"] == "openvino-int8-b1")
    assert metrics["test_accuracy"] == verified["shipped"]["accuracy"]
    assert metrics["test_balanced"] == verified["shipped"]["balanced_accuracy"]
    assert metrics["test_student"] == verified["student"]["accuracy"]
    assert metrics["test_teacher"] == verified["teacher"]["accuracy"]
    assert metrics["val_accuracy"] == shipped["accuracy"]
    assert metrics["p50_ms"] == shipped["latency"]["p50_ms"]
    assert metrics["model_mb"] == pytest.approx(0.701640)
    ratios = zip(
        evaluation["teacher"]["latency"]["round_ratios"]["p50"],
        shipped["latency"]["round_ratios"]["p50"],
        strict=True,
    )
    geometric_mean = math.prod(teacher / own for teacher, own in ratios) ** (1 / 7)
    assert metrics["speedup"] == pytest.approx(geometric_mean)


def test_without_the_teacher_on_the_device_the_speedup_is_left_out(run):
    complete = run_metrics(run.read())
    run.remove_teacher()
    assert run_metrics(run.read()) == {k: v for k, v in complete.items() if k != "speedup"}
