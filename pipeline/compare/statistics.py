"""Whether one method is better than another, over seeds and over images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats


@dataclass(frozen=True)
class PairedSeeds:
    """A paired t test over seeds; the same seed means the same first weights and batches.

    Attributes:
        difference: Mean of method minus rival.
        low: Lower end of its 95 % interval.
        high: Upper end of it.
        p: Two-sided. None with fewer than two seeds, or when all differences are the same.
    """

    difference: float
    low: float | None
    high: float | None
    p: float | None


def paired_seeds(method: list[float], rival: list[float]) -> PairedSeeds:
    """Compares the figures of two methods, one a seed, in the same order of seeds."""
    differences = np.subtract(method, rival)
    mean = float(differences.mean())
    if len(differences) < 2 or np.ptp(differences) == 0:
        return PairedSeeds(mean, None, None, None)
    reach = stats.t.ppf(0.975, len(differences) - 1) * stats.sem(differences)
    p = float(stats.ttest_rel(method, rival).pvalue)
    return PairedSeeds(mean, mean - float(reach), mean + float(reach), p)


def mcnemar(method_right: NDArray[np.bool_], rival_right: NDArray[np.bool_]) -> float:
    """Two-sided exact p of McNemar's test, on the images that only one of two models gets right.

    Args:
        method_right: bool [n], one a test image.
        rival_right: bool [n], of the same images.
    """
    gained = int(np.sum(method_right & ~rival_right))
    lost = int(np.sum(~method_right & rival_right))
    return float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def holm(p_values: list[float | None]) -> list[float | None]:
    """Holm's step-down correction of p values that were looked at together; None stays None."""
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None and math.isfinite(p))
    corrected: list[float | None] = [None] * len(p_values)
    worst = 0.0
    for rank, (p, i) in enumerate(known):
        worst = max(worst, min(1.0, (len(known) - rank) * p))
        corrected[i] = worst
    return corrected
