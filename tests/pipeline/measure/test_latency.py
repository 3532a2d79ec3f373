import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from pipeline.errors import MeasurementError
from pipeline.measure.latency import measure_latency, paired_ratio, take_turns
from pipeline.measure.runtime import MeasuredModel

# A device runtime whose times are in the file that stands for the model: one line a turn.
STAND_IN = """\
import json, os, sys
arguments = dict(zip(sys.argv[2::2], sys.argv[3::2]))
model = arguments["--model"]
with open(os.path.join(os.path.dirname(model), "turns.txt"), "a") as turns:
    print(os.path.basename(model), os.getpid(), file=turns)
lines = open(model).read().splitlines()
print(lines[0])
open(model, "w").write("\\n".join(lines[1:]))
"""


def answer(seconds, load=0.02, first=0.01, **more):
    return json.dumps(
        {"seconds": seconds, "load_s": load, "first_s": first, "threads": 2}
        | {"runtime": "onnxruntime", "runtime_version": "1.2.3"}
        | more
    )


@pytest.fixture
def measure(tmp_path):
    package = tmp_path / "finch_runtime"
    package.mkdir()
    (package / "__main__.py").write_text(STAND_IN)

    def measure(lines, runs, **options):
        for name, text in lines.items():
            (tmp_path / name).write_text("\n".join(text))
        models = {name: MeasuredModel(tmp_path / name, "onnxruntime") for name in lines}
        rounds = len(next(iter(lines.values())))
        settings = {"rounds": rounds, "runs": runs, "warmup": 1, "threads": 2} | options
        return measure_latency(models, tmp_path / "images.npy", runtime_folder=tmp_path, **settings)

    return measure


def test_figures_are_milliseconds_over_all_runs_of_all_rounds(measure):
    seconds = np.random.default_rng(0).uniform(0.001, 0.003, (3, 20))
    lines = [
        answer(row.tolist(), load=load, first=first, settings={"allow_spinning": "0"})
        for row, load, first in zip(seconds, [0.05, 0.02, 0.03], [0.4, 0.1, 0.2], strict=True)
    ]
    found = measure({"a": lines}, runs=20)["a"]
    ordered = np.sort(seconds.ravel()) * 1000
    # Linear interpolation between order statistics: position share x (60 - 1).
    assert found.p50_ms == pytest.approx((ordered[29] + ordered[30]) / 2)
    assert found.p90_ms == pytest.approx(ordered[53] + 0.1 * (ordered[54] - ordered[53]))
    assert found.p99_ms == pytest.approx(ordered[58] + 0.41 * (ordered[59] - ordered[58]))
    assert found.max_ms == pytest.approx(ordered[59])
    middles = [(np.sort(row)[9] + np.sort(row)[10]) * 500 for row in seconds]
    assert found.round_p50s_ms == pytest.approx(middles)
    assert (found.load_ms, found.first_ms) == pytest.approx((30, 200))
    assert (found.runs, found.threads) == (60, 2)
    assert (found.runtime, found.runtime_version) == ("onnxruntime", "1.2.3")
    assert found.settings == {"allow_spinning": "0"}


def test_every_model_runs_once_a_round_in_a_process_of_its_own(measure, tmp_path):
    names, rounds = ["a", "b", "c"], 4
    seen = []

    def track(items, description, total=None):
        seen.append(total)
        yield from items

    measure({name: [answer([0.1])] * rounds for name in names}, runs=1, track=track)
    turns = [line.split() for line in (tmp_path / "turns.txt").read_text().splitlines()]
    order = [name for name, _ in turns]
    assert [sorted(order[i : i + 3]) for i in range(0, 12, 3)] == [names] * rounds
    assert len({process for _, process in turns}) == len(turns)
    assert seen == [12]


@pytest.mark.parametrize("line", ["no JSON", "[1]", "{}", answer([0.1]), answer([0.1, 0.0])])
def test_an_answer_without_the_times_is_refused_by_name(measure, line):
    with pytest.raises(MeasurementError, match=r"broken\.onnx: the device runtime"):
        measure({"broken.onnx": [line]}, runs=2)


def test_a_model_that_fails_ends_the_measurement_by_name(measure):
    with pytest.raises(MeasurementError, match=r"fails\.onnx: could not be run: IndexError"):
        measure({"fine": [answer([0.1])], "fails.onnx": []}, runs=1)


@given(
    st.lists(st.text(max_size=3), min_size=1, max_size=7, unique=True),
    st.integers(0, 9),
    st.integers(0, 99),
)
def test_over_two_rounds_every_model_has_the_same_mean_place(names, rounds, seed):
    turns = take_turns(names, rounds, seed)
    assert turns == take_turns(names, rounds, seed)
    assert len(turns) == rounds
    assert all(Counter(order) == Counter(names) for order in turns)
    for there, back in zip(turns[::2], turns[1::2], strict=False):
        assert {there.index(n) + back.index(n) for n in names} == {len(names) - 1}


def test_the_order_changes_from_pair_to_pair_and_with_the_seed():
    names = list("abcdefgh")
    assert len({tuple(order) for order in take_turns(names, 8, 0)}) == 8
    assert take_turns(names, 1, 0) != take_turns(names, 1, 1)


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
