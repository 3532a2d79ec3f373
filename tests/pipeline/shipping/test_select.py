from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.errors import SelectionError
from pipeline.measure.evaluation import Measured, NotRun, read_evaluation
from pipeline.params import Bundle
from pipeline.shipping.select import Selection, Verdict, select_candidate
from pipeline.statistics import AccuracyDrop, LatencyRatio

RECORDING = read_evaluation(Path(__file__).parents[2] / "recordings/epyc_vnni.json")
REFERENCE = "ort-fp32"
RULE = Bundle(max_drop=1.0, max_drop_bound=2.5, latency_tolerance=0.10)
Triple = tuple[float, float, float]


def measured(
    name: str,
    kilobytes: float,
    latency_ms: float,
    ratio: Triple = (1, 1, 1),
    drop: Triple = (0.0, -0.7, 0.7),
    *,
    images: int = 525,
) -> Measured:
    template = RECORDING.candidates[0]
    return replace(
        template,
        name=name,
        bytes=int(kilobytes * 1000),
        latency=replace(template.latency, p50_ms=latency_ms),
        ratio=LatencyRatio(*ratio),
        drop=AccuracyDrop(*drop, 9, 2, images),
    )


def with_footprint(m: Measured, runtime: int | None, memory: int | None) -> Measured:
    footprint = replace(m.footprint, runtime_bytes=runtime, peak_bytes=memory)
    return replace(m, footprint=footprint)


def select(
    candidates: Sequence[Measured], rule: Bundle = RULE, not_run: Sequence[NotRun] = ()
) -> Selection:
    evaluation = replace(
        RECORDING, reference=REFERENCE, candidates=list(candidates), not_run=list(not_run)
    )
    return select_candidate(evaluation, rule)


def changed_rule(**limits: Any) -> Bundle:
    return Bundle.model_validate({**RULE.model_dump(), **limits})


def verdicts(selection: Selection) -> dict[str, Verdict]:
    return {v.name: v for v in selection.verdicts}


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


def test_where_int8_is_slow_the_plain_int8_file_does_not_ship() -> None:
    selection = select(INT8_SLOW)
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
    for part in ("smallest", "610.0 kB", "of the 2 accepted", "10 %", "0.690", "ort-fp32: 0.680"):
        assert part in selection.reason
    for part in ("slower than ort-fp32", "1.400", "95 % CI 1.380 to 1.430"):
        assert part in found["ort-int8"].reason
    for part in ("ov-int8-b1", "1,600.0 kB and 610.0 kB"):
        assert part in found["ort-fp32"].reason


def test_the_reference_ships_when_int8_loses_too_much() -> None:
    worse = [replace(m, drop=AccuracyDrop(2.3, 0.9, 3.7, 14, 2, 525)) for m in INT8_SLOW[1::3]]
    selection = select([*worse, INT8_SLOW[0]])
    found = verdicts(selection)
    assert selection.chosen == "ort-fp32"
    assert "fastest (0.680 ms)" in selection.reason
    drop = found["ov-int8-b1"].reason
    for part in ("2.30 points", "95 % CI 0.90 to 3.70", "max_drop 1"):
        assert part in drop
    assert found["ort-int8"].reason.startswith(f"{drop}; slower than ort-fp32")


def test_where_int8_is_fast_it_ships() -> None:
    selection = select(INT8_FAST)
    found = verdicts(selection)
    assert selection.chosen == "ort-int8"
    for part in ("83.3 % slower", "ov-int8-b1", "0.550 ms and 0.300 ms"):
        assert part in found["ort-fp32"].reason
    assert found["ov-int8-b1"].status == "accepted"


def test_a_small_drop_on_few_images_is_rejected() -> None:
    few = measured("int8", 610, 0.30, (0.54, 0.53, 0.56), (0.74, -0.45, 2.07))
    many = measured("int8", 610, 0.30, (0.54, 0.53, 0.56), (0.74, 0.3, 1.2), images=5410)
    rule = changed_rule(max_drop_bound=2.0)
    assert select([INT8_FAST[0], many], rule).chosen == "int8"
    reason = verdicts(select([INT8_FAST[0], few], rule))["int8"].reason
    for part in ("0.74 points", "-0.45 to 2.07", "525 images", "max_drop_bound 2"):
        assert part in reason


@pytest.mark.parametrize(
    ("change", "ships"),
    [
        ({}, "small"),
        ({"drop": (1.0, -0.5, 2.5)}, "small"),
        ({"drop": (1.2, -0.3, 2.4)}, REFERENCE),
        ({"drop": (1.0, -0.6, 2.6)}, REFERENCE),
        ({"ratio": (1.0, 0.9, 1.1)}, "small"),
        ({"ratio": (1.01, 0.9, 1.1)}, REFERENCE),
        ({"latency_ms": 1.1}, "small"),
        ({"latency_ms": 1.11}, REFERENCE),
        ({"kilobytes": 1000.001}, REFERENCE),
    ],
)
def test_limits_are_inclusive(change: dict[str, Any], ships: str) -> None:
    small = measured("small", **{"kilobytes": 100, "latency_ms": 1.0, **change})
    assert select([measured(REFERENCE, 1000, 1.0), small]).chosen == ships


def test_ties_go_to_the_faster_and_then_to_the_first_by_name() -> None:
    reference = measured(REFERENCE, 1000, 1.0)
    twins = [measured("b", 100, 0.9), measured("a", 100, 0.9), measured("c", 100, 0.89)]
    assert select([reference, *twins]).chosen == "c"
    found = verdicts(select([reference, *twins[:2]]))
    assert found["a"].status == "shipped"
    assert "a, which is first by name" in found["b"].reason


def test_a_reference_alone_ships() -> None:
    assert select([INT8_SLOW[0]]).chosen == REFERENCE


def test_the_percentile_of_the_rule_decides() -> None:
    steady, jittery = INT8_FAST[0], INT8_FAST[1]
    jittery = replace(jittery, latency=replace(jittery.latency, p50_ms=0.1, p99_ms=9.0))
    steady = replace(steady, latency=replace(steady.latency, p50_ms=0.5, p99_ms=1.0))
    assert select([steady, jittery]).chosen == jittery.name
    assert select([steady, jittery], changed_rule(percentile="p99")).chosen == steady.name


def test_candidates_that_the_device_cannot_run_come_last() -> None:
    unable = [
        NotRun(name, "openvino", "fp16", 1, 9, "no package") for name in ("ov-fp16-b1", "teacher")
    ]
    last = select(INT8_SLOW[:1], not_run=unable).verdicts[-1]
    assert (last.name, last.status) == ("ov-fp16-b1", "rejected")
    assert RECORDING.device in last.reason and "no package" in last.reason


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        ([], "ort-fp32: .* not measured"),
        (INT8_SLOW[1:], "ort-fp32: .* not measured"),
        ([*INT8_SLOW, INT8_SLOW[1]], "ort-int8: 2 candidates"),
        ([INT8_FAST[0], measured("x", 1, float("nan"))], "x: its latency or drop"),
        ([INT8_FAST[0], measured("x", 1, 1, (0, 0, 0))], "x: its latency or drop"),
        (
            [INT8_FAST[0], measured("x", 1, 1, drop=(0.0, 0.0, float("nan")))],
            "x: its latency or drop",
        ),
    ],
)
def test_invalid_measurements_are_refused(candidates: list[Measured], expected: str) -> None:
    with pytest.raises(SelectionError, match=expected):
        select(candidates)


LARGE = with_footprint(measured(REFERENCE, 1600, 0.68), 40_000_000, 60_000_000)
SMALL = with_footprint(measured("small", 800, 1.3, (0.99, 0.9, 1.1)), 100_000_000, 90_000_000)


@pytest.mark.parametrize(
    ("limit", "ships", "reason"),
    [
        ({"max_model_mb": 1.6}, REFERENCE, None),
        ({"max_model_mb": 1.599999}, "small", "1.60 MB exceeds max_model_mb"),
        ({"max_total_mb": 50.0}, REFERENCE, "100.80 MB exceeds max_total_mb 50"),
        ({"max_memory_mb": 80.0}, REFERENCE, "90.00 MB exceeds max_memory_mb 80"),
    ],
)
def test_limits_of_size_and_memory_apply_to_the_reference_too(
    limit: dict[str, float], ships: str, reason: str | None
) -> None:
    selection = select([LARGE, SMALL], changed_rule(**limit))
    assert selection.chosen == ships
    rejected = [v.reason for v in selection.verdicts if v.status == "rejected"]
    assert len(rejected) == (reason is not None)
    assert reason is None or reason in rejected[0]


def test_a_size_that_was_not_measured_does_not_meet_its_limit() -> None:
    small = with_footprint(SMALL, 100_000_000, None)
    selection = select([LARGE, small], changed_rule(max_memory_mb=80.0))
    assert "memory was not measured, max_memory_mb is 80" in verdicts(selection)["small"].reason


def test_if_nothing_is_within_the_limits_each_candidate_is_named_with_its_reason() -> None:
    with pytest.raises(SelectionError, match=r"^bundle: .*ort-fp32: .*1\.60 MB.*small: .*0\.80 MB"):
        select([LARGE, SMALL], changed_rule(max_model_mb=0.1))


@st.composite
def candidates(draw: st.DrawFn, name: str | None = None) -> Measured:
    value = draw(st.floats(0.3, 2))
    reach = draw(st.floats(1, 1.3))
    points, spread = draw(st.integers(-8, 12)) / 4, draw(st.integers(0, 12)) / 4
    return measured(
        name or draw(st.text("abcdef", min_size=1, max_size=3)),
        draw(st.integers(1, 40)) * 50,
        draw(st.floats(0.2, 3)),
        (value, value / reach, value * reach),
        (points, points - spread, points + spread),
    )


fields = st.tuples(
    candidates(name=REFERENCE), st.lists(candidates(), max_size=6, unique_by=lambda m: m.name)
).map(lambda both: [both[0], *both[1]])


@given(fields)
def test_what_ships_is_within_the_limits_and_nothing_better_is_left(field: list[Measured]) -> None:
    selection = select(field)
    statuses = {v.name: v.status for v in selection.verdicts}
    allowed = [
        m
        for m in field
        if m.name == REFERENCE or (m.drop.points <= 1 and m.drop.high <= 2.5 and m.ratio.value <= 1)
    ]
    assert {n for n, s in statuses.items() if s != "rejected"} == {m.name for m in allowed}
    assert [n for n, s in statuses.items() if s == "shipped"] == [selection.chosen]
    chosen = next(m for m in allowed if m.name == selection.chosen)
    latency = chosen.latency.p50_ms
    assert not any(m.latency.p50_ms * 1.1 < latency for m in allowed)
    assert not any(m.bytes < chosen.bytes and m.latency.p50_ms <= latency for m in allowed)


@given(fields, st.randoms(use_true_random=False))
def test_the_order_of_the_candidates_does_not_matter(field: list[Measured], random: Any) -> None:
    shuffled = random.sample(field, len(field))
    before, after = select(field), select(shuffled)
    assert before.reason == after.reason
    assert verdicts(before) == verdicts(after)
    assert [v.name for v in after.verdicts] == [m.name for m in shuffled]


@given(fields, candidates(name="newcomer"))
def test_a_candidate_worse_than_the_chosen_one_changes_nothing(
    field: list[Measured], newcomer: Measured
) -> None:
    chosen = next(m for m in field if m.name == select(field).chosen)
    slower = chosen.latency.p50_ms + newcomer.latency.p50_ms
    newcomer = replace(
        newcomer,
        latency=replace(newcomer.latency, p50_ms=slower),
        bytes=chosen.bytes + newcomer.bytes,
    )
    assert select([*field, newcomer]).chosen == chosen.name


@given(fields)
def test_removing_a_rejected_candidate_changes_nothing(field: list[Measured]) -> None:
    selection = select(field)
    rejected = {v.name for v in selection.verdicts if v.status == "rejected"}
    assume(rejected)
    assert select([m for m in field if m.name not in rejected]).chosen == selection.chosen
