import json
import math
from dataclasses import replace

import numpy as np
import pytest
from finch_runtime.protocol import (
    PROTOCOL,
    ComparePlan,
    CompareResult,
    Conditions,
    Energy,
    ModelTiming,
    to_json,
)
from scipy.stats import ttest_1samp

from pipeline.errors import MeasurementError
from pipeline.measure.latency import LatencyPlan, measure_latency
from pipeline.measure.runtime import DeviceRuntime, MeasuredModel

# A fake device runtime, which returns the lines of the first model's file, one per round, and
# records its requests.
FAKE_RUNTIME = """\
import json, sys
request = json.load(sys.stdin)
path = request["models"][0]["path"]
with open(path + ".requests", "a") as requests:
    print(json.dumps(request), file=requests)
lines = open(path).read().splitlines()
print(lines[0])
open(path, "w").write("\\n".join(lines[1:]))
"""


def timing(turns, load_s=0.02, first_s=0.01, **changes):
    values = {
        **{"runtime": "onnxruntime", "runtime_version": "1.2.3", "threads": 2, "settings": {}},
        **{"load_s": load_s, "first_s": first_s, "turns": turns},
        **{"energy": Energy(None, 0, "none"), "baseline_bytes": 10, "peak_bytes": 30},
    }
    return ModelTiming(**{**values, "runtime_bytes": None, **changes})


def round_of(*timings):
    return to_json(CompareResult(list(timings), [Conditions(40.0, None)] * 2))


@pytest.fixture
def measure(tmp_path):
    package = tmp_path / "finch_runtime"
    package.mkdir()
    (package / "__main__.py").write_text(FAKE_RUNTIME)

    def measure(names, lines, *, turns, runs, rounds=None, **changes):
        models = {name: MeasuredModel(tmp_path / name, "onnxruntime") for name in names}
        models[names[0]].path.write_text("\n".join(lines))
        plan = {
            **{"reference": names[0], "threads": 2, "rounds": rounds or len(lines)},
            **{"max_rounds": len(lines), "max_minutes": 60.0, "max_half_width": 0.05},
            **{"turns": ComparePlan(turns, runs, 1, 0.5), **changes},
        }
        images, runtime = tmp_path / "images.npy", DeviceRuntime(tmp_path)
        return measure_latency(models, images, runtime, LatencyPlan(**plan))

    return measure


def steady(ratio):
    """A round with the same latency ratio in both turns."""
    return round_of(timing([[0.1], [0.2]]), timing([[0.1 * ratio], [0.2 * ratio]]))


def test_latencies_are_milliseconds_over_all_runs_of_all_rounds(measure):
    seconds = np.random.default_rng(0).uniform(0.001, 0.003, (3, 4, 5))
    lines = [
        round_of(timing(turns.tolist(), load_s=load, first_s=first, settings={"spinning": "0"}))
        for turns, load, first in zip(seconds, [0.05, 0.02, 0.03], [0.4, 0.1, 0.2], strict=True)
    ]
    found = measure(["a"], lines, turns=4, runs=5).latencies["a"]
    ordered = np.sort(seconds.ravel()) * 1000
    # Linear interpolation between order statistics: position p x (60 - 1).
    assert found.p50_ms == pytest.approx((ordered[29] + ordered[30]) / 2)
    assert found.p90_ms == pytest.approx(ordered[53] + 0.1 * (ordered[54] - ordered[53]))
    assert found.p99_ms == pytest.approx(ordered[58] + 0.41 * (ordered[59] - ordered[58]))
    assert found.max_ms == pytest.approx(ordered[59])
    medians = [(np.sort(r.ravel())[9] + np.sort(r.ravel())[10]) * 500 for r in seconds]
    assert found.round_p50s_ms == pytest.approx(medians)
    assert (found.load_ms, found.first_ms) == pytest.approx((30, 200))
    assert (found.runs, found.threads) == (60, 2)
    assert (found.runtime, found.runtime_version) == ("onnxruntime", "1.2.3")
    assert found.settings == {"spinning": "0"}


def test_the_footprint_is_the_median_over_processes_and_the_energy_per_run(measure):
    joules, peaks = [3.0, 1.0, 2.0], [40, 20, 90]
    lines = [
        round_of(timing([[0.1, 0.1]], energy=Energy(j, n, "rapl: package-0"), peak_bytes=peak))
        for j, n, peak in zip(joules, [10, 5, 15], peaks, strict=True)
    ]
    found = measure(["a"], lines, turns=1, runs=2)
    footprint = found.footprints["a"]
    assert footprint.energy_mj == pytest.approx(1e3 * 6 / 30)
    assert footprint.energy_source == "rapl: package-0"
    assert (footprint.peak_bytes, footprint.baseline_bytes) == (40, 10)
    assert footprint.runtime_bytes is None
    assert found.conditions == [Conditions(40.0, None)] * 6


def test_a_ratio_is_computed_turn_by_turn(measure):
    # The machine is ten times slower in the second turn, for both models.
    slow = round_of(timing([[1.0], [10.0], [1.0]]), timing([[2.0], [20.0], [2.2]]))
    found = measure(["a", "b"], [slow] * 2, turns=3, runs=1)
    assert found.latencies["b"].round_ratios["p50"] == pytest.approx([2.0, 2.0])
    assert found.latencies["a"].round_ratios["p50"] == [1, 1]


def test_ratios_of_high_percentiles_are_over_all_runs_of_a_round(measure):
    seconds = np.random.default_rng(0).uniform(0.001, 0.003, (3, 2, 4, 5))  # round, model, turn
    lines = [round_of(*(timing(turns.tolist()) for turns in models)) for models in seconds]
    found = measure(["a", "b"], lines, turns=4, runs=5).latencies
    ordered = np.sort(seconds.reshape(3, 2, 20)) * 1000
    # Linear interpolation between order statistics: position p x (20 - 1).
    p90 = ordered[..., 17] + 0.1 * (ordered[..., 18] - ordered[..., 17])
    p99 = ordered[..., 18] + 0.81 * (ordered[..., 19] - ordered[..., 18])
    for percentile, values in (("p90", p90), ("p99", p99)):
        assert found["a"].round_ratios[percentile] == [1, 1, 1]
        assert found["b"].round_ratios[percentile] == pytest.approx(values[:, 1] / values[:, 0])
        logs = np.log(values[:, 1] / values[:, 0])
        ratio, back = found["b"].ratio(percentile), found["a"].ratio(percentile, to=found["b"])
        assert ratio.value == pytest.approx(math.exp(logs.mean()))
        assert (back.low, back.high) == pytest.approx((1 / ratio.high, 1 / ratio.low))


def test_a_ratio_that_was_not_recorded_is_an_error(measure):
    found = measure(["a"], [round_of(timing([[0.1]]))] * 2, turns=1, runs=1).latencies["a"]
    old = replace(found, round_ratios={"p50": found.round_ratios["p50"]})
    assert old.ratio("p50").value == 1
    for own, other in ((old, found), (found, old)):
        with pytest.raises(MeasurementError, match=r"p99.*finch evaluate"):
            own.ratio("p99", to=other)


def test_rounds_end_when_the_ratio_is_precise(measure):
    ratios = [1.0, 2.0, 1.3, 1.3, 1.3, 1.3] + [1.3] * 50
    lines = [steady(ratio) for ratio in ratios]
    found = measure(["a", "b"], lines, turns=2, runs=1, rounds=3, max_half_width=0.2)
    used = ratios[: found.count]

    def half_width(values):
        interval = ttest_1samp(np.log(values), 0).confidence_interval(0.95)
        mean = math.exp(np.mean(np.log(values)))
        return (math.exp(interval.high) - math.exp(interval.low)) / 2 / mean

    assert found.ended == "converged"
    assert found.half_width == pytest.approx(half_width(used))
    assert half_width(used) <= 0.2 < half_width(used[:-1])


def test_the_minimum_number_of_rounds_is_kept(measure):
    found = measure(["a", "b"], [steady(1.5)] * 9, turns=2, runs=1, rounds=4)
    assert (found.count, found.ended) == (4, "converged")


def test_the_maximum_number_of_rounds_ends_an_imprecise_measurement(measure):
    found = measure(["a", "b"], [steady(r) for r in (1, 2) * 3], turns=2, runs=1, rounds=3)
    assert (found.count, found.ended) == (6, "max_rounds")
    assert found.half_width > 0.05


def test_no_round_starts_that_would_exceed_the_time_limit(measure):
    lines = [steady(r) for r in (1, 2) * 3]
    found = measure(["a", "b"], lines, turns=2, runs=1, rounds=3, max_minutes=1e-6)
    assert (found.count, found.ended) == (3, "time_limit")


def test_an_optional_model_may_be_imprecise(measure):
    lines = [
        round_of(timing([[0.1]]), timing([[0.2]]), timing([[variable]]))
        for variable in (1.0, 5.0) * 5
    ]
    found = measure(["a", "b", "c"], lines, turns=1, runs=1, rounds=3, optional=["c"])
    assert (found.count, found.ended) == (3, "converged")
    assert len(found.latencies["c"].round_ratios["p50"]) == 3


def test_every_round_requests_the_plan_with_its_own_order(measure, tmp_path):
    measure(["a", "b"], [steady(1)] * 3, turns=2, runs=1)
    lines = (tmp_path / "a.requests").read_text().splitlines()
    requests = [json.loads(line) for line in lines]
    assert [request["plan"]["seed"] for request in requests] == [0, 1, 2]
    for request in requests:
        assert request["threads"] == 2
        del request["plan"]["seed"]
        assert request["plan"] == {"turns": 2, "runs": 1, "warmup": 1, "warmup_s": 0.5}


@pytest.mark.parametrize(
    "text",
    [
        *("no JSON", "[1]", "{}"),
        round_of(),
        round_of(timing([[0.1]])),
        round_of(timing([[0.1, 0.0], [1.0, 1.0]])),
        round_of(timing([[0.1, 0.1], [1.0, 1.0]])).replace("load_s", "load"),
        round_of(timing([[0.1, 0.1], [1.0, 1.0]])).replace(
            f'"protocol": {PROTOCOL}', '"protocol": 99'
        ),
    ],
)
def test_an_invalid_result_is_rejected(measure, text):
    with pytest.raises(MeasurementError, match=r"broken\.onnx|device runtime"):
        measure(["broken.onnx"], [text], turns=2, runs=2)
