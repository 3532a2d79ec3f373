import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.compare.statistics import holm, mcnemar, paired_seeds


def test_paired_seeds_is_the_t_test_of_the_differences():
    # Differences 1, 2, 3: mean 2, standard error 1/sqrt(3), t = 2 sqrt(3) with 2 degrees of
    # freedom, whose two-sided p has the closed form 1 - t / sqrt(t^2 + 2).
    test = paired_seeds([11.0, 22.0, 33.0], [10.0, 20.0, 30.0])
    t = 2 * math.sqrt(3)
    assert test.difference == pytest.approx(2)
    assert test.p == pytest.approx(1 - t / math.sqrt(t * t + 2), abs=1e-12)
    # The 97.5 % point of t with 2 degrees of freedom is 0.95 sqrt(2 / (1 - 0.95^2)).
    reach = 0.95 * math.sqrt(2 / (1 - 0.95**2)) / math.sqrt(3)
    assert test.low == pytest.approx(2 - reach, abs=1e-9)
    assert test.high == pytest.approx(2 + reach, abs=1e-9)


def test_the_interval_leaves_out_zero_just_when_p_is_below_5_percent():
    rng = np.random.default_rng(0)
    verdicts = set()
    for shift in (0.0, 1.0, 3.0):
        for _ in range(20):
            test = paired_seeds((rng.normal(shift, 1, 5)).tolist(), rng.normal(0, 1, 5).tolist())
            assert (test.p < 0.05) == (test.low > 0 or test.high < 0)
            verdicts.add(test.p < 0.05)
    assert verdicts == {True, False}


@pytest.mark.parametrize(("ours", "theirs"), [([0.5], [0.25]), ([0.5, 0.75], [0.25, 0.5])])
def test_one_seed_or_equal_differences_have_no_p(ours, theirs):
    test = paired_seeds(ours, theirs)
    assert (test.difference, test.low, test.high, test.p) == (0.25, None, None, None)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_mcnemar_is_the_sign_test_of_the_images_that_differ(answers):
    ours, theirs = (np.array(side) for side in zip(*answers, strict=True))
    gained, lost = int((ours & ~theirs).sum()), int((~ours & theirs).sum())
    flips = gained + lost
    tail = sum(math.comb(flips, k) for k in range(min(gained, lost) + 1)) / 2**flips
    assert mcnemar(ours, theirs) == pytest.approx(min(1.0, 2 * tail))
    assert mcnemar(ours, theirs) == pytest.approx(mcnemar(theirs, ours))


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.04 times 3, 2, 1, never falling.
    assert holm([0.04, None, 0.01, 0.02]) == pytest.approx([0.04, None, 0.03, 0.04])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_rejects_just_what_its_closed_testing_procedure_rejects():
    # Holm rejects a hypothesis when Bonferroni rejects every set of hypotheses that holds it.
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
