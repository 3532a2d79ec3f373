from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.errors import SelectionError
from pipeline.shipping.select import Limits, Measurement, select
from pipeline.statistics import AccuracyDrop, LatencyRatio

REFERENCE = "ort-fp32"
BUDGET = {
    "reference": REFERENCE,
    "limits": Limits(max_drop=1.0, max_drop_bound=2.5),
    "latency_tolerance": 0.10,
}


def measured(name, kilobytes, latency_ms, ratio=(1, 1, 1), drop=(0.0, -0.7, 0.7)):
    points, low, high = drop
    return Measurement(
        name, kilobytes * 1000, latency_ms, LatencyRatio(*ratio), AccuracyDrop(points, low, high, 9, 2, 525)
    )


INT8_SLOW = [
    measured("ort-fp32", 1600, 0.68),
    measured("ort-int8", 560, 0.95, (1.40, 1.38, 1.43), (0.4, -0.6, 1.5)),
    measured("ov-fp16", 820, 1.01, (1.49, 1.46, 1.52), (0.0, -0.7, 0.7)),
    measured("ov-fp16-b1", 820, 0.74, (1.09, 1.06, 1.12), (0.0, -0.7, 0.7)),
    measured("ov-int8-b1", 610, 0.69, (0.99, 0.96, 1.03), (0.2, -0.8, 1.2)),
]
INT8_FAST = [
    measured("ort-fp32", 1600, 0.55),
    measured("ort-int8", 560, 0.31, (0.56, 0.55, 0.58), (0.4, -0.6, 1.5)),
    measured("ov-fp16-b1", 820, 0.52, (0.95, 0.93, 0.97), (0.0, -0.7, 0.7)),
    measured("ov-int8-b1", 610, 0.30, (0.54, 0.53, 0.56), (0.2, -0.8, 1.2)),
]


def verdicts(selection):
    return {v.name: v for v in selection.verdicts}


def test_where_int8_is_slow_the_plain_int8_file_does_not_ship():
    selection = select(INT8_SLOW, **BUDGET)
    assert {v.name: v.status for v in selection.verdicts} == {
        "ort-fp32": "accepted",
        "ort-int8": "rejected",
        "ov-fp16": "rejected",
        "ov-fp16-b1": "rejected",
        "ov-int8-b1": "shipped",
    }
    found = verdicts(selection)
    assert selection.chosen == "ov-int8-b1"
    assert selection.reason == found["ov-int8-b1"].reason
    assert selection.reason == (
        "the smallest file (610.0 kB) of the 2 accepted candidates within 10 % of the fastest, "
        "ort-fp32 (0.690 ms against 0.680 ms)"
    )
    assert found["ort-int8"].reason == (
        "slower than ort-fp32: 1.400 times its latency (95 % interval 1.380 to 1.430)"
    )
    assert found["ort-fp32"].reason == (
        "its file is larger than that of ov-int8-b1 (1,600.0 kB against 610.0 kB)"
    )


def test_the_reference_ships_when_int8_loses_too_much():
    worse = [replace(m, drop=AccuracyDrop(2.3, 0.9, 3.7, 14, 2, 525)) for m in INT8_SLOW[1::3]]
    selection = select([*worse, INT8_SLOW[0]], **BUDGET)
    found = verdicts(selection)
    assert selection.chosen == "ort-fp32"
    assert selection.reason == (
        "the fastest (0.680 ms), and no other accepted candidate is within 10 % of the fastest"
    )
    loses = "loses 2.30 points of accuracy (95 % interval 0.90 to 3.70), 1 allowed"
    assert found["ov-int8-b1"].reason == loses
    assert found["ort-int8"].reason == (
        f"{loses}; slower than ort-fp32: 1.400 times its latency (95 % interval 1.380 to 1.430)"
    )


def test_where_int8_is_fast_it_ships():
    selection = select(INT8_FAST, **BUDGET)
    found = verdicts(selection)
    assert selection.chosen == "ort-int8"
    assert found["ort-fp32"].reason == (
        "83.3 % slower than the fastest, ov-int8-b1 (0.550 ms against 0.300 ms)"
    )
    assert found["ov-int8-b1"].status == "accepted"


def test_a_small_loss_on_few_images_is_not_taken_for_a_small_loss():
    few = measured("int8", 610, 0.30, (0.54, 0.53, 0.56), (0.74, -0.45, 2.07))
    many = replace(few, drop=AccuracyDrop(0.74, 0.3, 1.2, 61, 21, 5410))
    budget = {**BUDGET, "limits": Limits(max_drop=1.0, max_drop_bound=2.0)}
    assert select([INT8_FAST[0], many], **budget).chosen == "int8"
    found = verdicts(select([INT8_FAST[0], few], **budget))
    assert found["int8"].reason == (
        "loses 0.74 points of accuracy (95 % interval -0.45 to 2.07): 525 images cannot rule out "
        "more than 2"
    )


@pytest.mark.parametrize(
    ("change", "ships"),
    [
        ({}, "small"),
        ({"drop": AccuracyDrop(1.0, -0.5, 2.5, 7, 2, 500)}, "small"),
        ({"drop": AccuracyDrop(1.2, -0.3, 2.4, 8, 2, 500)}, REFERENCE),
        ({"drop": AccuracyDrop(1.0, -0.6, 2.6, 7, 2, 500)}, REFERENCE),
        ({"ratio": LatencyRatio(1.0, 0.9, 1.1)}, "small"),
        ({"ratio": LatencyRatio(1.01, 0.9, 1.1)}, REFERENCE),
        ({"latency_ms": 1.1}, "small"),
        ({"latency_ms": 1.11}, REFERENCE),
        ({"bytes": 1_000_001}, REFERENCE),
    ],
)
def test_where_the_lines_run(change, ships):
    small = replace(measured("small", 100, 1.0), **change)
    assert select([measured(REFERENCE, 1000, 1.0), small], **BUDGET).chosen == ships


def test_ties_go_to_the_faster_and_then_to_the_first_by_name():
    reference = measured(REFERENCE, 1000, 1.0)
    twins = [measured("b", 100, 0.9), measured("a", 100, 0.9), measured("c", 100, 0.89)]
    assert select([reference, *twins], **BUDGET).chosen == "c"
    found = verdicts(select([reference, *twins[:2]], **BUDGET))
    assert found["a"].status == "shipped"
    assert found["b"].reason == "a is as small and as fast, and comes first by name"


def test_a_reference_alone_ships():
    assert select([INT8_SLOW[0]], **BUDGET).chosen == REFERENCE


@pytest.mark.parametrize(
    ("measurements", "says"),
    [
        ([], "ort-fp32: the reference was not measured"),
        (INT8_SLOW[1:], "ort-fp32: the reference was not measured"),
        ([*INT8_SLOW, INT8_SLOW[1]], "ort-int8: was measured 2 times"),
        ([INT8_FAST[0], measured("x", 1, float("nan"))], "x: its latency or its drop"),
        ([INT8_FAST[0], measured("x", 1, 1, (0, 0, 0))], "x: its latency or its drop"),
        (
            [INT8_FAST[0], measured("x", 1, 1, drop=(0.0, 0.0, float("nan")))],
            "x: its latency or its drop",
        ),
    ],
)
def test_measurements_that_allow_no_choice_are_refused(measurements, says):
    with pytest.raises(SelectionError, match=says):
        select(measurements, **BUDGET)


LARGE = replace(measured(REFERENCE, 1600, 0.68), runtime_bytes=40_000_000, memory_bytes=60_000_000)
SMALL = replace(
    measured("small", 800, 1.3, (0.99, 0.9, 1.1)),
    runtime_bytes=100_000_000,
    memory_bytes=90_000_000,
)


@pytest.mark.parametrize(
    ("limit", "ships", "reason"),
    [
        ({"max_bytes": 1_600_000}, REFERENCE, None),
        ({"max_bytes": 1_599_999}, "small", "its file is 1.60 MB, 1.6 MB allowed"),
        (
            {"max_total_bytes": 50e6},
            REFERENCE,
            "its file with the runtime is 100.80 MB, 50 MB allowed",
        ),
        (
            {"max_memory_bytes": 80e6},
            REFERENCE,
            "its memory at the peak is 90.00 MB, 80 MB allowed",
        ),
    ],
)
def test_limits_of_size_and_memory_bind_the_reference_too(limit, ships, reason):
    limits = Limits(max_drop=1.0, max_drop_bound=2.5, **limit)
    selection = select([LARGE, SMALL], **{**BUDGET, "limits": limits})
    assert selection.chosen == ships
    rejected = [v.reason for v in selection.verdicts if v.status == "rejected"]
    assert rejected == ([reason] if reason else [])


def test_a_limit_on_what_was_not_measured_is_not_taken_for_kept():
    limits = Limits(max_drop=1.0, max_drop_bound=2.5, max_memory_bytes=80e6)
    selection = select([LARGE, replace(SMALL, memory_bytes=None)], **{**BUDGET, "limits": limits})
    assert verdicts(selection)["small"].reason == (
        "its memory at the peak was not measured, and may be 80 MB"
    )


def test_where_nothing_is_within_the_limits_each_candidate_is_named_with_its_reason():
    limits = Limits(max_drop=1.0, max_drop_bound=2.5, max_bytes=1e5)
    with pytest.raises(SelectionError) as refused:
        select([LARGE, SMALL], **{**BUDGET, "limits": limits})
    assert str(refused.value) == (
        "bundle: no candidate is within the limits: ort-fp32 its file is 1.60 MB, 0.1 MB allowed; "
        "small its file is 0.80 MB, 0.1 MB allowed; raise the limit, or distil a smaller student"
    )


@st.composite
def candidates(draw, name=None):
    value = draw(st.floats(0.3, 2))
    reach = draw(st.floats(1, 1.3))
    points, spread = draw(st.integers(-8, 12)) / 4, draw(st.integers(0, 12)) / 4
    return Measurement(
        name=name or draw(st.text("abcdef", min_size=1, max_size=3)),
        bytes=draw(st.integers(1, 40)) * 50_000,
        latency_ms=draw(st.floats(0.2, 3)),
        ratio=LatencyRatio(value, value / reach, value * reach),
        drop=AccuracyDrop(points, points - spread, points + spread, 10, 5, 400),
    )


fields = st.tuples(
    candidates(name=REFERENCE), st.lists(candidates(), max_size=6, unique_by=lambda m: m.name)
).map(lambda both: [both[0], *both[1]])


@given(fields)
def test_what_ships_is_within_the_budget_and_nothing_better_is_left(field):
    selection = select(field, **BUDGET)
    statuses = {v.name: v.status for v in selection.verdicts}
    allowed = [
        m
        for m in field
        if m.name == REFERENCE or (m.drop.points <= 1 and m.drop.high <= 2.5 and m.ratio.value <= 1)
    ]
    assert {n for n, s in statuses.items() if s != "rejected"} == {m.name for m in allowed}
    assert [n for n, s in statuses.items() if s == "shipped"] == [selection.chosen]
    chosen = next(m for m in allowed if m.name == selection.chosen)
    assert not any(m.latency_ms * 1.1 < chosen.latency_ms for m in allowed)
    assert not any(m.bytes < chosen.bytes and m.latency_ms <= chosen.latency_ms for m in allowed)


@given(fields, st.randoms(use_true_random=False))
def test_the_order_of_the_candidates_does_not_matter(field, random):
    shuffled = random.sample(field, len(field))
    before, after = select(field, **BUDGET), select(shuffled, **BUDGET)
    assert before.reason == after.reason
    assert verdicts(before) == verdicts(after)
    assert [v.name for v in after.verdicts] == [m.name for m in shuffled]


@given(fields, candidates(name="newcomer"))
def test_a_candidate_worse_than_the_chosen_one_changes_nothing(field, newcomer):
    chosen = next(m for m in field if m.name == select(field, **BUDGET).chosen)
    newcomer = replace(
        newcomer,
        latency_ms=chosen.latency_ms + newcomer.latency_ms,
        bytes=chosen.bytes + newcomer.bytes,
    )
    assert select([*field, newcomer], **BUDGET).chosen == chosen.name


@given(fields)
def test_a_rejected_candidate_might_as_well_not_be_there(field):
    selection = select(field, **BUDGET)
    rejected = {v.name for v in selection.verdicts if v.status == "rejected"}
    assume(rejected)
    assert select([m for m in field if m.name not in rejected], **BUDGET).chosen == selection.chosen
