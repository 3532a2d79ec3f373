import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import binomtest, multinomial, ttest_1samp

from pipeline.errors import MeasurementError
from pipeline.statistics import (
    BalancedAccuracyDrop,
    Proportion,
    holm,
    mcnemar,
    paired_balanced_drop,
    paired_drop,
    paired_ratio,
    paired_t_test,
)


def test_the_paired_t_test_by_hand():
    # Differences 1, 2, 3: mean 2, standard error 1/sqrt(3), t = 2 sqrt(3) with 2 degrees of
    # freedom, whose two-sided p has the closed form 1 - t / sqrt(t^2 + 2).
    test = paired_t_test([11.0, 22.0, 33.0], [10.0, 20.0, 30.0])
    t = 2 * math.sqrt(3)
    assert test.difference == pytest.approx(2)
    assert test.p == pytest.approx(1 - t / math.sqrt(t * t + 2), abs=1e-12)
    # The 97.5 % point of t with 2 degrees of freedom is 0.95 sqrt(2 / (1 - 0.95^2)).
    margin = 0.95 * math.sqrt(2 / (1 - 0.95**2)) / math.sqrt(3)
    assert test.low == pytest.approx(2 - margin, abs=1e-9)
    assert test.high == pytest.approx(2 + margin, abs=1e-9)


def test_the_interval_excludes_zero_if_and_only_if_p_is_below_5_percent():
    rng = np.random.default_rng(0)
    significant = set()
    for shift in (0.0, 1.0, 3.0):
        for _ in range(20):
            test = paired_t_test((rng.normal(shift, 1, 5)).tolist(), rng.normal(0, 1, 5).tolist())
            assert (test.p < 0.05) == (test.low > 0 or test.high < 0)
            significant.add(test.p < 0.05)
    assert significant == {True, False}


@pytest.mark.parametrize(("ours", "theirs"), [([0.5], [0.25]), ([0.5, 0.75], [0.25, 0.5])])
def test_one_seed_or_equal_differences_have_no_p(ours, theirs):
    test = paired_t_test(ours, theirs)
    assert (test.difference, test.low, test.high, test.p) == (0.25, None, None, None)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_mcnemar_is_the_sign_test_of_the_images_that_differ(predictions):
    ours, theirs = (np.array(side) for side in zip(*predictions, strict=True))
    gained, lost = int((ours & ~theirs).sum()), int((~ours & theirs).sum())
    flips = gained + lost
    tail = sum(math.comb(flips, k) for k in range(min(gained, lost) + 1)) / 2**flips
    assert mcnemar(ours, theirs) == pytest.approx(min(1.0, 2 * tail))
    assert mcnemar(ours, theirs) == pytest.approx(mcnemar(theirs, ours))


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.04 times 3, 2, 1, made monotonic.
    assert holm([0.04, None, 0.01, 0.02]) == pytest.approx([0.04, None, 0.03, 0.04])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_rejects_what_its_closed_testing_procedure_rejects():
    # Holm rejects a hypothesis when Bonferroni rejects every set of hypotheses that contains it.
    rng = np.random.default_rng(1)
    for _ in range(50):
        p = rng.uniform(0, 0.06, 4)
        corrected = holm(p.tolist())
        for i in range(4):
            sets = (
                subset
                for size in range(1, 5)
                for subset in itertools.combinations(range(4), size)
                if i in subset
            )
            rejected = all(min(p[list(s)]) * len(s) <= 0.05 for s in sets)
            assert rejected == (corrected[i] <= 0.05)


def drop(lost, gained, images):
    reference, candidate = np.ones((2, images), dtype=bool)
    candidate[:lost] = False
    reference[lost : lost + gained] = False
    return paired_drop(reference, candidate)


def test_a_drop_needs_the_same_images():
    with pytest.raises(MeasurementError, match=r"paired drop: .*2.*3"):
        paired_drop(np.ones(3, dtype=bool), np.ones(2, dtype=bool))


def test_a_drop_counts_lost_and_gained_images():
    reference = np.array([1, 1, 1, 0, 0, 1, 1, 1], dtype=bool)
    candidate = np.array([0, 0, 1, 1, 0, 1, 0, 1], dtype=bool)
    measured = paired_drop(reference, candidate)
    assert (measured.lost, measured.gained, measured.images) == (3, 1, 8)
    assert measured.points == 100 * (reference.mean() - candidate.mean()) == 25


def test_a_drop_is_an_exact_decimal_number():
    assert drop(3, 0, 1000).points == 0.3


images_of_classes = st.lists(st.tuples(*[st.booleans()] * 2, st.integers(0, 3)), min_size=1)


@given(images_of_classes)
def test_a_balanced_drop_is_the_difference_of_the_balanced_accuracies(images):
    reference, own, labels = np.array(images).T
    both = [
        np.mean([correct[labels == label].mean() for label in np.unique(labels)])
        for correct in (reference, own)
    ]
    found = paired_balanced_drop(reference.astype(bool), own.astype(bool), labels)
    assert found.points == pytest.approx(100 * (both[0] - both[1]))
    assert found.low <= found.lower_bound <= found.points + 1e-9
    assert found.points - 1e-9 <= found.bound <= found.high


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.data())
def test_the_balanced_drop_of_one_class_is_the_drop(counts, data):
    lost, images = counts
    gained = data.draw(st.integers(0, images - lost))
    expected = drop(lost, gained, images)
    found = BalancedAccuracyDrop.of_counts([lost], [gained], [images])
    assert found.images == expected.images
    for name in ("points", "low", "high", "bound", "lower_bound"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), abs=1e-9)
    settled = found.images_for_bound(3.0), expected.images_for_bound(3.0)
    assert settled[0] == settled[1] or settled[0] == pytest.approx(settled[1], abs=1)


@pytest.mark.parametrize(
    ("images", "lost", "gained"),
    [
        ([4, 9, 40], [0.1, 0.1, 0.1], [0.1, 0.1, 0.1]),
        ([4, 9, 40], [0.3, 0.05, 0.0], [0.0, 0.05, 0.0]),
        ([3, 3, 3, 3, 3, 3, 3, 3], [0.02] * 8, [0.0] * 8),
        ([100, 5], [0.01, 0.2], [0.01, 0.2]),
    ],
)
def test_the_interval_of_a_balanced_drop_has_its_nominal_coverage(images, lost, gained):
    rng, truth, trials = np.random.default_rng(0), np.mean(np.subtract(lost, gained)), 500
    each = [
        rng.multinomial(n, [a, b, 1 - a - b], trials).tolist()
        for n, a, b in zip(images, lost, gained, strict=True)
    ]
    drops = [
        BalancedAccuracyDrop.of_counts([c[0] for c in classes], [c[1] for c in classes], images)
        for classes in zip(*each, strict=True)
    ]
    # 0.93 is below 0.95 by two standard errors of the simulation.
    assert np.mean([d.low / 100 <= truth <= d.high / 100 for d in drops]) > 0.93
    assert np.mean([truth <= d.bound / 100 for d in drops]) > 0.93


def test_classes_with_few_images_widen_the_bound_of_a_balanced_drop():
    even, uneven = (
        BalancedAccuracyDrop.of_counts([0] * 2, [0] * 2, images) for images in ([50, 50], [95, 5])
    )
    assert drop(0, 0, 100).bound < even.bound < uneven.bound
    needed = uneven.images_for_bound(2.0)
    scaled = [math.ceil(n * needed / 100) for n in (95, 5)]
    assert BalancedAccuracyDrop.of_counts([0] * 2, [0] * 2, scaled).bound <= 2.0
    assert uneven.images_for_bound(0.0) is None


@pytest.mark.parametrize("images", [1, 50, 700])
def test_the_interval_without_differences_has_the_width_of_an_unseen_one(images):
    same = drop(0, 0, images)
    width = 100 * (1 - 0.025 ** (1 / images))
    assert same.points == 0
    assert (same.low, same.high) == pytest.approx((-width, width))


@given(hnp.arrays(bool, (2, 40)))
def test_a_drop_is_antisymmetric(correct):
    there, back = paired_drop(*correct), paired_drop(*correct[::-1])
    assert (back.points, back.lost, back.gained) == (-there.points, there.gained, there.lost)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))
    assert -100 - 1e-9 <= there.low <= there.points <= there.high <= 100 + 1e-9


def test_the_interval_of_a_drop_has_its_nominal_coverage():
    images = 20
    outcomes = [(a, b) for a in range(images + 1) for b in range(images + 1 - a)]
    drops = [drop(a, b, images) for a, b in outcomes]
    low, high, bound = np.array([(d.low, d.high, d.bound) for d in drops]).T / 100
    counts = [(a, b, images - a - b) for a, b in outcomes]
    proportions = np.arange(0, 0.81, 0.05)
    for lost, gained in itertools.product(proportions, proportions):
        if lost + gained < 0.81:
            truth = lost - gained
            chances = multinomial.pmf(counts, images, [lost, gained, 1 - lost - gained])
            inside = (low - 1e-9 <= truth) & (truth <= high + 1e-9)
            assert chances[inside].sum() >= 0.95, (lost, gained)
            assert chances[truth <= bound + 1e-9].sum() >= 0.95, (lost, gained)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.data())
def test_the_bound_lies_between_the_drop_and_the_end_of_its_interval(counts, data):
    lost, images = counts
    found = drop(lost, data.draw(st.integers(0, images - lost)), images)
    assert found.points - 1e-9 <= found.bound <= found.high + 1e-9


def test_the_bound_is_a_test_of_non_inferiority_at_5_percent():
    # Without gains and with one loss more than are likely at 5 %, the proportion is Clopper's.
    lost, images = 3, 500
    exact = binomtest(lost, images, alternative="less").proportion_ci(0.95, method="exact").high
    assert drop(lost, 0, images).bound == pytest.approx(100 * exact, rel=0.05)
    assert drop(0, 0, images).bound == pytest.approx(100 * (1 - 0.05 ** (1 / images)))


@pytest.mark.parametrize(("lost", "gained", "points"), [(0, 0, 2.0), (9, 7, 1.5), (2, 0, 2.0)])
def test_the_images_that_would_settle_a_bound_are_the_fewest(lost, gained, points):
    found = drop(lost, gained, 200)
    needed = found.images_for_bound(points)

    def bound(times):
        return drop(lost * times, gained * times, 200 * times).bound

    above, below = math.ceil(needed / 200), needed // 200
    assert bound(above) <= points
    assert not below or bound(below) > points or below * 200 == needed


def test_no_images_settle_a_bound_below_the_drop():
    assert drop(2, 0, 100).images_for_bound(2.0) is None
    assert drop(2, 0, 100).images_for_bound(2.0 + 1e-9) is None
    assert drop(0, 0, 1).images_for_bound(2.0) == 149  # 0.05 ** (1 / 149) > 0.98


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_of_a_proportion_is_clopper_pearson(counts):
    found, exact = Proportion(*counts), binomtest(*counts).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


@given(st.integers(1, 19), st.integers(1, 19))
def test_the_images_that_tell_a_proportion_from_a_value_are_the_fewest(count, twentieths):
    found, value = Proportion(count, 20), twentieths / 20
    needed = found.images_to_tell_from(value)
    if count == twentieths:
        assert needed is None
        return

    def differs(times):
        low, high = binomtest(count * times, 20 * times).proportion_ci(0.95, method="exact")
        return not low <= value <= high

    above, below = math.ceil(needed / 20), needed // 20
    assert differs(above)
    assert not below or below * 20 == needed or not differs(below)


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
def test_a_common_drift_does_not_change_a_ratio(rows):
    candidate, reference, drift = (np.array(column) for column in zip(*rows, strict=True))
    still, drifting = (paired_ratio(candidate * d, reference * d) for d in (1, drift))
    assert (drifting.value, drifting.low, drifting.high) == pytest.approx(
        (still.value, still.low, still.high), rel=1e-6
    )


def test_the_ratio_of_equal_latencies_is_one():
    ratio = paired_ratio([0.7, 0.9, 0.8], [0.7, 0.9, 0.8])
    assert (ratio.value, ratio.low, ratio.high) == (1, 1, 1)
    assert ratio.half_width == 0


@pytest.mark.parametrize(("candidate", "reference"), [([1.0], [1.0]), ([1.0, 2.0], [1.0])])
def test_rounds_that_cannot_be_paired_are_rejected(candidate, reference):
    with pytest.raises(MeasurementError, match="paired ratio"):
        paired_ratio(candidate, reference)
