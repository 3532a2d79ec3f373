import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from pipeline.errors import MeasurementError
from pipeline.measure.latency import Stopping, measure_latency, paired_ratio
from pipeline.measure.runtime import MeasuredModel

# A device runtime whose times are in the file that stands for the first model: one line a round.
STAND_IN = """\
import json, sys
models = [word.partition("=")[2] for word in sys.argv[2:] if "=" in word]
with open(models[0] + ".calls", "a") as calls:
    print(json.dumps(sys.argv[1:]), file=calls)
lines = open(models[0]).read().splitlines()
print(lines[0])
open(models[0], "w").write("\\n".join(lines[1:]))
"""


def answer(turns, load=0.02, first=0.01, **more):
    return {
        "turns": turns,
        **{"load_s": load, "first_s": first, "threads": 2},
        **{"runtime": "onnxruntime", "runtime_version": "1.2.3"},
    } | more


def line(*answers):
    conditions = [{"temperature_c": 40.0, "frequency_mhz": None}] * 2
    return json.dumps({"models": answers, "conditions": conditions})


@pytest.fixture
def measure(tmp_path):
    package = tmp_path / "finch_runtime"
    package.mkdir()
    (package / "__main__.py").write_text(STAND_IN)

    def measure(names, lines, *, turns, runs, rounds=None, settled=0.05, minutes=60.0, **options):
        models = {name: MeasuredModel(tmp_path / name, "onnxruntime") for name in names}
        models[names[0]].path.write_text("\n".join(lines))
        return measure_latency(
            models,
            tmp_path / "images.npy",
            reference=names[0],
            stopping=Stopping(rounds or len(lines), len(lines), minutes, settled),
            turns=turns,
            runs=runs,
            warmup=1,
            warmup_seconds=0.5,
            threads=2,
            runtime_folder=tmp_path,
            **options,
        )

    return measure


def steady(ratio):
    """A round in which a candidate takes this often the reference's time in every turn."""
    return line(answer([[0.1], [0.2]]), answer([[0.1 * ratio], [0.2 * ratio]]))


def test_figures_are_milliseconds_over_all_runs_of_all_rounds(measure):
    seconds = np.random.default_rng(0).uniform(0.001, 0.003, (3, 4, 5))
    lines = [
        line(answer(turns.tolist(), load=load, first=first, settings={"allow_spinning": "0"}))
        for turns, load, first in zip(seconds, [0.05, 0.02, 0.03], [0.4, 0.1, 0.2], strict=True)
    ]
    found = measure(["a"], lines, turns=4, runs=5).latencies["a"]
    ordered = np.sort(seconds.ravel()) * 1000
    # Linear interpolation between order statistics: position share x (60 - 1).
    assert found.p50_ms == pytest.approx((ordered[29] + ordered[30]) / 2)
    assert found.p90_ms == pytest.approx(ordered[53] + 0.1 * (ordered[54] - ordered[53]))
    assert found.p99_ms == pytest.approx(ordered[58] + 0.41 * (ordered[59] - ordered[58]))
    assert found.max_ms == pytest.approx(ordered[59])
    middles = [(np.sort(r.ravel())[9] + np.sort(r.ravel())[10]) * 500 for r in seconds]
    assert found.round_p50s_ms == pytest.approx(middles)
    assert (found.load_ms, found.first_ms) == pytest.approx((30, 200))
    assert (found.runs, found.threads) == (60, 2)
    assert (found.runtime, found.runtime_version) == ("onnxruntime", "1.2.3")
    assert found.settings == {"allow_spinning": "0"}


def test_a_ratio_is_taken_turn_by_turn(measure):
    # The machine is ten times slower in the middle turn, for both alike.
    slow = line(answer([[1.0], [10.0], [1.0]]), answer([[2.0], [20.0], [2.2]]))
    found = measure(["a", "b"], [slow] * 2, turns=3, runs=1)
    assert found.latencies["b"].round_ratios == pytest.approx([2.0, 2.0])
    assert found.latencies["a"].round_ratios == [1, 1]


def test_rounds_end_when_the_ratio_is_certain(measure):
    ratios = [1.0, 2.0, 1.3, 1.3, 1.3, 1.3] + [1.3] * 50
    lines = [steady(ratio) for ratio in ratios]
    found = measure(["a", "b"], lines, turns=2, runs=1, rounds=3, settled=0.2)
    used = ratios[: found.count]

    def width(values):
        interval = ttest_1samp(np.log(values), 0).confidence_interval(0.95)
        middle = math.exp(np.mean(np.log(values)))
        return (math.exp(interval.high) - math.exp(interval.low)) / 2 / middle

    assert found.ended == "settled"
    assert found.uncertainty == pytest.approx(width(used))
    assert width(used) <= 0.2 < width(used[:-1])


def test_there_are_no_fewer_rounds_than_wanted(measure):
    found = measure(["a", "b"], [steady(1.5)] * 9, turns=2, runs=1, rounds=4)
    assert (found.count, found.ended) == (4, "settled")


def test_the_most_rounds_end_what_does_not_settle(measure):
    found = measure(["a", "b"], [steady(r) for r in (1, 2) * 3], turns=2, runs=1, rounds=3)
    assert (found.count, found.ended) == (6, "rounds")
    assert found.uncertainty > 0.05


def test_no_round_begins_for_which_there_is_no_time(measure):
    lines = [steady(r) for r in (1, 2) * 3]
    found = measure(["a", "b"], lines, turns=2, runs=1, rounds=3, minutes=1e-6)
    assert (found.count, found.ended) == (3, "time")


def test_a_bystander_need_not_settle(measure):
    lines = [
        line(answer([[0.1]]), answer([[0.2]]), answer([[restless]])) for restless in (1, 5) * 5
    ]
    found = measure(["a", "b", "c"], lines, turns=1, runs=1, rounds=3, bystanders=["c"])
    assert (found.count, found.ended) == (3, "settled")
    assert len(found.latencies["c"].round_ratios) == 3


def test_every_round_has_an_order_of_its_own_and_what_was_asked_for(measure, tmp_path):
    measure(["a", "b"], [steady(1)] * 3, turns=2, runs=1)
    calls = [json.loads(call) for call in (tmp_path / "a.calls").read_text().splitlines()]
    assert [call[call.index("--seed") + 1] for call in calls] == ["0", "1", "2"]
    for option, value in (
        *(("--turns", "2"), ("--runs", "1"), ("--warmup", "1")),
        *(("--warmup-seconds", "0.5"), ("--threads", "2")),
    ):
        assert all(call[call.index(option) + 1] == value for call in calls)


@pytest.mark.parametrize(
    "text",
    ["no JSON", "[1]", "{}", line({}), line(answer([[0.1]])), line(answer([[0.1, 0.0], [1, 1]]))],
)
def test_an_answer_without_the_times_is_refused(measure, text):
    with pytest.raises(MeasurementError, match=r"device runtime"):
        measure(["broken.onnx"], [text], turns=2, runs=2)


latencies = st.lists(
    st.tuples(st.floats(0.1, 100), st.floats(0.1, 100), st.floats(0.1, 10)), min_size=2, max_size=9
)


@given(latencies)
def test_a_ratio_is_a_geometric_mean_with_students_interval(rows):
    candidate, reference, _ = zip(*rows, strict=True)
    ratio = paired_ratio(candidate, reference)
    logs = [math.log(a / b) for a, b in zip(candidate, reference, strict=True)]
    assert ratio.value == pytest.approx(math.exp(sum(logs) / len(logs)))
    if np.ptp(logs) > 1e-6:
        expected = ttest_1samp(logs, 0).confidence_interval(0.95)
        assert (ratio.low, ratio.high) == pytest.approx(
            (math.exp(expected.low), math.exp(expected.high)), rel=1e-6
        )


@given(latencies)
def test_a_drift_that_both_models_meet_does_not_change_their_ratio(rows):
    candidate, reference, drift = (np.array(column) for column in zip(*rows, strict=True))
    still, drifting = (paired_ratio(candidate * d, reference * d) for d in (1, drift))
    assert (drifting.value, drifting.low, drifting.high) == pytest.approx(
        (still.value, still.low, still.high), rel=1e-6
    )


def test_a_model_beside_itself_has_ratio_one():
    ratio = paired_ratio([0.7, 0.9, 0.8], [0.7, 0.9, 0.8])
    assert (ratio.value, ratio.low, ratio.high) == (1, 1, 1)


@pytest.mark.parametrize(("candidate", "reference"), [([1.0], [1.0]), ([1.0, 2.0], [1.0])])
def test_rounds_that_cannot_be_paired_are_refused(candidate, reference):
    with pytest.raises(MeasurementError, match="paired latencies"):
        paired_ratio(candidate, reference)
