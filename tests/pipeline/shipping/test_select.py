from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import t

from pipeline.errors import MeasurementError, SelectionError
from pipeline.measure.evaluation import Measured, NotRun, read_evaluation
from pipeline.params import Bundle
from pipeline.shipping.select import Selection, Verdict, select_candidate
from pipeline.statistics import AccuracyDrop, BalancedAccuracyDrop, paired_drop

RECORDING = read_evaluation(Path(__file__).parents[2] / "recordings/epyc_vnni.json")
REFERENCE = "ort-fp32"
RULE = Bundle(max_drop=1.0, max_drop_bound=2.5, latency_tolerance=0.10)


def rounds(ratio: float, reach: float) -> list[float]:
    """Ratios of two rounds whose 95 % interval is ``ratio`` divided and multiplied by ``reach``."""
    spread = reach ** (1 / t.ppf(0.975, 1))
    return [ratio / spread, ratio * spread]


def measured(
    name: str,
    kilobytes: float,
    ratio: float = 1.0,
    reach: float = 1.02,
    drop: tuple[int, int] = (0, 0),
    *,
    images: int = 525,
) -> Measured:
    """A candidate with a p50 of ``ratio`` milliseconds; ``drop`` is lost and gained images."""
    template, (lost, gained) = RECORDING.candidates[0], drop
    reference, own = np.ones((2, images), dtype=bool)
    own[:lost] = False
    reference[lost : lost + gained] = False
    ratios = [1.0, 1.0] if name == REFERENCE else rounds(ratio, reach)
    return replace(
        template,
        name=name,
        bytes=int(kilobytes * 1000),
        latency=replace(template.latency, p50_ms=ratio, round_ratios={"p50": ratios}),
        drop=paired_drop(reference, own),
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


def with_balanced_drop(m: Measured, lost: list[int]) -> Measured:
    """``lost`` images of two classes, of 400 and 125 images."""
    return replace(m, balanced_drop=BalancedAccuracyDrop.of_counts(lost, [0, 0], [400, 125]))


def changed_rule(**limits: Any) -> Bundle:
    return Bundle.model_validate({**RULE.model_dump(), **limits})


def verdicts(selection: Selection) -> dict[str, Verdict]:
    return {v.name: v for v in selection.verdicts}


INT8_SLOW = [
    measured("ort-fp32", 1600),
    measured("ort-int8", 560, 1.40, drop=(4, 2)),
    measured("ov-fp16", 820, 1.49),
    measured("ov-fp16-b1", 820, 1.09),
    measured("ov-int8-b1", 610, 0.99, drop=(3, 2)),
]
INT8_FAST = [
    measured("ort-fp32", 1600),
    measured("ort-int8", 560, 0.56, drop=(4, 2)),
    measured("ov-fp16-b1", 820, 0.95),
    measured("ov-int8-b1", 610, 0.54, drop=(3, 2)),
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
    for part in ("smallest", "610.0 kB", "of the 2 accepted", "10 %", "0.990 ms, latency ratio"):
        assert part in selection.reason
    for part in ("slower than ort-fp32", "p50", "1.400", "95 % CI 1.373 to 1.428"):
        assert part in found["ort-int8"].reason
    for part in ("ov-int8-b1", "1,600.0 kB and 610.0 kB"):
        assert part in found["ort-fp32"].reason


def test_the_reference_ships_when_int8_loses_too_much() -> None:
    drop = measured("", 1, drop=(14, 2)).drop
    worse = [replace(m, drop=drop) for m in INT8_SLOW[1::3]]
    selection = select([*worse, INT8_SLOW[0]])
    found = verdicts(selection)
    assert selection.chosen == "ort-fp32"
    assert "fastest (1.000 ms, latency ratio 1.000)" in selection.reason
    reason = found["ov-int8-b1"].reason
    for part in ("2.29 points", f"95 % CI {drop.low:.2f} to {drop.high:.2f}", "max_drop 1"):
        assert part in reason
    assert found["ort-int8"].reason.startswith(f"{reason}; slower than ort-fp32")


def test_where_int8_is_fast_it_ships() -> None:
    selection = select(INT8_FAST)
    found = verdicts(selection)
    assert selection.chosen == "ort-int8"
    for part in ("85.2 % slower", "ov-int8-b1", "1.000 ms, latency ratio 1.000", "0.540 ms"):
        assert part in found["ort-fp32"].reason
    assert found["ov-int8-b1"].status == "accepted"


def test_a_small_drop_on_few_images_is_rejected_with_the_number_that_would_settle_it() -> None:
    few, many = (measured("int8", 610, 0.54, drop=(8 * k, 4 * k), images=525 * k) for k in (1, 5))
    rule = changed_rule(max_drop_bound=1.9)
    assert few.drop.bound > 1.9 > many.drop.bound
    assert select([INT8_FAST[0], many], rule).chosen == "int8"
    reason = verdicts(select([INT8_FAST[0], few], rule))["int8"].reason
    for part in ("0.76 points", "525 images", f"{few.drop.bound:.2f} points", "max_drop_bound 1.9"):
        assert part in reason
    (needed,) = re.findall(r"about ([\d,]+) validation images.*prepare\.fractions\.val", reason)
    exact = few.drop.images_for_bound(1.9)
    assert exact is not None and exact <= int(needed.replace(",", "")) < 1.1 * exact


def test_the_bound_is_one_sided() -> None:
    m = measured("int8", 610, 0.54, drop=(6, 2))
    assert m.drop.bound < m.drop.high
    between = changed_rule(max_drop_bound=(m.drop.bound + m.drop.high) / 2)
    assert select([INT8_FAST[0], m], between).chosen == "int8"


def test_no_number_is_promised_where_none_is_enough() -> None:
    m = measured("int8", 610, 0.54, drop=(5, 0), images=500)
    rule = changed_rule(max_drop=1.0, max_drop_bound=1.0)
    reason = verdicts(select([INT8_FAST[0], m], rule))["int8"].reason
    assert "max_drop_bound 1" in reason and "would settle" not in reason


@pytest.mark.parametrize(
    ("ratio", "reach", "status"),
    [
        (0.9996, 1.02, "shipped"),
        (1.0004, 1.02, "shipped"),
        (1.02, 1.01, "rejected"),  # 1.0099 to 1.0302
        (1.05, 1.06, "shipped"),
        (1.0999, 1.2, "shipped"),
        (1.1001, 1.2, "rejected"),
    ],
)
def test_a_candidate_is_slower_by_its_interval_or_beyond_the_tolerance(
    ratio: float, reach: float, status: str
) -> None:
    found = verdicts(select([measured(REFERENCE, 1000), measured("small", 100, ratio, reach)]))
    assert found["small"].status == status
    if ratio > 1.1:
        assert "exceeds 1 + latency_tolerance 0.1" in found["small"].reason
    assert status == "shipped" or f"slower than {REFERENCE}" in found["small"].reason


@pytest.mark.parametrize(
    ("change", "ships"),
    [
        ({}, "small"),
        ({"drop": (10, 5), "images": 500}, "small"),
        ({"drop": (11, 5), "images": 500}, REFERENCE),
        ({"drop": (30, 25), "images": 500}, REFERENCE),
        ({"ratio": 1.1, "reach": 1.2}, "small"),
        ({"ratio": 1.11, "reach": 1.2}, REFERENCE),
        ({"kilobytes": 1000.001}, REFERENCE),
    ],
)
def test_limits_are_inclusive(change: dict[str, Any], ships: str) -> None:
    small = measured("small", **{"kilobytes": 100, **change})
    rule = changed_rule(max_drop_bound=measured("", 1, drop=(10, 5), images=500).drop.bound)
    assert select([measured(REFERENCE, 1000), small], rule).chosen == ships


def test_ties_go_to_the_faster_and_then_to_the_first_by_name() -> None:
    reference = measured(REFERENCE, 1000)
    twins = [measured("b", 100, 0.9), measured("a", 100, 0.9), measured("c", 100, 0.89)]
    assert select([reference, *twins]).chosen == "c"
    found = verdicts(select([reference, *twins[:2]]))
    assert found["a"].status == "shipped"
    assert "a, which is first by name" in found["b"].reason


def test_a_reference_alone_ships() -> None:
    assert select([INT8_SLOW[0]]).chosen == REFERENCE


def test_the_percentile_of_the_rule_decides() -> None:
    def with_p99(m: Measured, ratio: float) -> Measured:
        ratios = {**m.latency.round_ratios, "p99": rounds(ratio, 1.01)}
        return replace(m, latency=replace(m.latency, round_ratios=ratios))

    steady, jittery = with_p99(INT8_FAST[0], 1.0), with_p99(INT8_FAST[1], 9.0)
    assert select([steady, jittery]).chosen == jittery.name
    by_p99 = select([steady, jittery], changed_rule(percentile="p99"))
    assert by_p99.chosen == steady.name
    assert "p99 latency ratio 9.000" in verdicts(by_p99)[jittery.name].reason


def test_a_percentile_that_was_not_recorded_is_an_error() -> None:
    with pytest.raises(MeasurementError, match=r"p90.*finch evaluate"):
        select(INT8_FAST, changed_rule(percentile="p90"))


def test_candidates_are_ranked_by_paired_ratios_and_not_by_pooled_latencies() -> None:
    # The pooled medians have the opposite order, as when the machine drifts.
    a, b = measured("a", 100, 0.5), measured("b", 200, 0.6)
    a = replace(a, latency=replace(a.latency, p50_ms=0.7))
    assert select([INT8_FAST[0], a, b]).chosen == "a"


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
        ([INT8_FAST[0], measured("x", 1, 0.0)], "x: its latency or drop"),
        (
            [INT8_FAST[0], replace(INT8_FAST[1], drop=AccuracyDrop(math.nan, 0, 0, 0, 0, 9))],
            "ort-int8: its latency or drop",
        ),
    ],
)
def test_invalid_measurements_are_refused(candidates: list[Measured], expected: str) -> None:
    with pytest.raises(SelectionError, match=expected):
        select(candidates)


LARGE = with_footprint(measured(REFERENCE, 1600), 40_000_000, 60_000_000)
SMALL = with_footprint(measured("small", 800, 1.05, 1.1), 100_000_000, 90_000_000)


@pytest.mark.parametrize(
    ("limit", "ships", "reason"),
    [
        ({"max_model_mb": 1.6}, "small", None),
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
    return measured(
        name or draw(st.text("abcdef", min_size=1, max_size=3)),
        draw(st.integers(1, 40)) * 50,
        draw(st.floats(0.3, 2)),
        draw(st.floats(1, 1.3)),
        (draw(st.integers(0, 14)), draw(st.integers(0, 14))),
    )


fields = st.tuples(
    candidates(name=REFERENCE), st.lists(candidates(), max_size=6, unique_by=lambda m: m.name)
).map(lambda both: [both[0], *both[1]])


@given(fields)
def test_what_ships_is_within_the_limits_and_nothing_better_is_left(field: list[Measured]) -> None:
    selection = select(field)
    statuses = {v.name: v.status for v in selection.verdicts}
    ratio = {m.name: m.latency.ratio().value for m in field}

    def is_allowed(m: Measured) -> bool:
        slower = m.latency.ratio().low > 1 or ratio[m.name] > 1.1
        return m.drop.points <= 1 and m.drop.bound <= 2.5 and not slower

    allowed = [m for m in field if m.name == REFERENCE or is_allowed(m)]
    assert {n for n, s in statuses.items() if s != "rejected"} == {m.name for m in allowed}
    assert [n for n, s in statuses.items() if s == "shipped"] == [selection.chosen]
    chosen = next(m for m in allowed if m.name == selection.chosen)
    assert not any(ratio[m.name] * 1.1 < ratio[chosen.name] for m in allowed)
    assert not any(m.bytes < chosen.bytes and ratio[m.name] <= ratio[chosen.name] for m in allowed)


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
    slower = [ratio * 1.01 for ratio in chosen.latency.round_ratios["p50"]]
    newcomer = replace(
        newcomer,
        latency=replace(newcomer.latency, round_ratios={"p50": slower}),
        bytes=chosen.bytes + newcomer.bytes,
    )
    assert select([*field, newcomer]).chosen == chosen.name


@given(fields)
def test_removing_a_rejected_candidate_changes_nothing(field: list[Measured]) -> None:
    selection = select(field)
    rejected = {v.name for v in selection.verdicts if v.status == "rejected"}
    assume(rejected)
    assert select([m for m in field if m.name not in rejected]).chosen == selection.chosen


def test_the_rule_is_held_to_the_balanced_accuracy():
    candidates = [
        with_balanced_drop(measured(REFERENCE, 100), [0, 0]),
        with_balanced_drop(measured("frequent", 50, drop=(4, 0)), [4, 0]),
        with_balanced_drop(measured("rare", 40, drop=(4, 0)), [0, 4]),
    ]
    assert select(candidates).chosen == "rare"
    rule = changed_rule(metric="balanced_accuracy")
    found = select(candidates, rule)
    assert found.chosen == "frequent"
    # 4 of 125 images of one of two classes.
    reason = verdicts(found)["rare"].reason
    assert re.match(
        r"balanced accuracy drop of 1\.60 points \(95 % CI .* exceeds max_drop 1", reason
    )


def test_the_bound_of_the_balanced_accuracy_says_how_many_images_settle_it():
    candidates = [
        with_balanced_drop(measured(name, size), [0, lost])
        for name, size, lost in ((REFERENCE, 100, 0), ("int8", 40, 2))
    ]
    rule = changed_rule(metric="balanced_accuracy", max_drop_bound=2.0)
    reason = verdicts(select(candidates, rule))["int8"].reason
    expected = r"balanced accuracy drop of 0\.80 points on 525 images: .* about 8\d\d validation"
    assert re.match(expected, reason), reason


def test_a_recording_without_the_balanced_drop_is_refused():
    rule = changed_rule(metric="balanced_accuracy")
    with pytest.raises(
        SelectionError, match=r"balanced accuracy was not compared; run `finch evaluate`"
    ):
        select([measured(REFERENCE, 100), measured("int8", 40)], rule)
