"""Statistics: accuracy drops and latency ratios with their intervals, and tests over seeds."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from pipeline.errors import MeasurementError

# Level of the two-sided interval whose ends are one-sided 95 % bounds.
_ONE_SIDED = 0.90
_MOST_IMAGES = 10_000_000


@dataclass(frozen=True)
class AccuracyDrop:
    """Accuracy that a model loses relative to a reference on the same images.

    Attributes:
        figure: What drops, for texts.
        points: Drop in percentage points; positive when the model is worse.
        low: Lower end of the 95 % confidence interval of ``points``.
        high: Upper end of the interval.
        lost: Number of images that only the reference classifies correctly.
        gained: Number of images that only the model classifies correctly.
        images: Number of images.
    """

    figure: ClassVar[str] = "accuracy"

    points: float
    low: float
    high: float
    lost: NonNegativeInt
    gained: NonNegativeInt
    images: PositiveInt

    def __post_init__(self) -> None:
        if self.lost + self.gained > self.images:
            raise ValueError(f"{self.lost} lost and {self.gained} gained of {self.images} images")

    @classmethod
    def of_counts(cls, lost: int, gained: int, images: int) -> AccuracyDrop:
        """The drop with its interval, see ``paired_drop``."""
        low, high = _difference_interval(lost, gained, images, 0.95)
        return cls(100 * (lost - gained) / images, 100 * low, 100 * high, lost, gained, images)

    @property
    def bound(self) -> float:
        """One-sided 95 % upper confidence bound of the drop, in percentage points.

        It is the upper end of the 90 % interval. A drop of ``d`` points or more is ruled out at the
        level of 5 % if the bound is below ``d``; this is a test for non-inferiority.
        """
        return 100 * _difference_interval(self.lost, self.gained, self.images, _ONE_SIDED)[1]

    @property
    def lower_bound(self) -> float:
        """One-sided 95 % lower bound of the drop: the lower end of the interval of ``bound``."""
        return 100 * _difference_interval(self.lost, self.gained, self.images, _ONE_SIDED)[0]

    def images_for_bound(self, points: float) -> int | None:
        """Number of images from which on the bound is at most ``points``.

        The fractions of lost and gained images are assumed to stay the same. None if no number is
        enough, because the drop itself is not below ``points``; or if it is above 10 million.
        """
        lost, gained = self.lost / self.images, self.gained / self.images

        def suffices(images: int) -> bool:
            counts = lost * images, gained * images
            return 100 * _difference_interval(*counts, images, _ONE_SIDED)[1] <= points

        return None if self.points >= points else _first(suffices)


@dataclass(frozen=True)
class BalancedAccuracyDrop:
    """Balanced accuracy that a model loses relative to a reference on the same images.

    The lists have one number per class that has images.

    Attributes:
        figure: What drops, for texts.
        points: Drop in percentage points, the mean over the classes; positive when the model is
            worse.
        low: Lower end of the 95 % confidence interval of ``points``.
        high: Upper end of the interval.
        lost: Number of images that only the reference classifies correctly.
        gained: Number of images that only the model classifies correctly.
        class_images: Number of images.
    """

    figure: ClassVar[str] = "balanced accuracy"

    points: float
    low: float
    high: float
    lost: list[NonNegativeInt]
    gained: list[NonNegativeInt]
    class_images: list[PositiveInt]

    def __post_init__(self) -> None:
        for lost, gained, images in self._counts():
            if lost + gained > images:
                raise ValueError(f"{lost} lost and {gained} gained of {images} images")

    @classmethod
    def of_counts(
        cls, lost: list[int], gained: list[int], class_images: list[int]
    ) -> BalancedAccuracyDrop:
        """The drop with its interval, see ``paired_balanced_drop``."""
        counts = list(zip(lost, gained, class_images, strict=True))
        points = 100 * sum((a - b) / images for a, b, images in counts) / len(counts)
        low, high = _mean_difference_interval(counts, 0.95)
        return cls(points, 100 * low, 100 * high, lost, gained, class_images)

    @property
    def images(self) -> int:
        """Number of images of all classes."""
        return sum(self.class_images)

    @property
    def bound(self) -> float:
        """One-sided 95 % upper confidence bound, as ``AccuracyDrop.bound``."""
        return 100 * _mean_difference_interval(self._counts(), _ONE_SIDED)[1]

    @property
    def lower_bound(self) -> float:
        """One-sided 95 % lower confidence bound."""
        return 100 * _mean_difference_interval(self._counts(), _ONE_SIDED)[0]

    def images_for_bound(self, points: float) -> int | None:
        """Number of images from which on the bound is at most ``points``.

        The fractions of the classes, and of lost and gained images in each of them, are assumed to
        stay the same. None as in ``AccuracyDrop.images_for_bound``.
        """

        def suffices(images: int) -> bool:
            factor = images / self.images
            counts = [(factor * a, factor * b, factor * n) for a, b, n in self._counts()]
            return 100 * _mean_difference_interval(counts, _ONE_SIDED)[1] <= points

        return None if self.points >= points else _first(suffices)

    def _counts(self) -> list[tuple[int, int, int]]:
        return list(zip(self.lost, self.gained, self.class_images, strict=True))


Drop: TypeAlias = AccuracyDrop | BalancedAccuracyDrop


@dataclass(frozen=True)
class Proportion:
    """A fraction of images, with its exact (Clopper-Pearson) 95 % confidence interval."""

    count: NonNegativeInt
    images: PositiveInt

    @property
    def value(self) -> float:
        """The fraction, in [0, 1]."""
        return self.count / self.images

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return _proportion(self.count, self.images, 0.95)[1]

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        return _proportion(self.count, self.images, 0.95)[2]

    def images_to_tell_from(self, value: float) -> int | None:
        """Number of images from which on the interval does not contain ``value``.

        The fraction is assumed to stay the same. None if no number below 10 million is enough.
        """

        def suffices(images: int) -> bool:
            _, low, high = _proportion(self.value * images, images, 0.95)
            return not low <= value <= high

        return _first(suffices)


@dataclass(frozen=True)
class LatencyRatio:
    """Latency of a model divided by that of a reference, with its 95 % confidence interval."""

    value: PositiveFloat
    low: PositiveFloat
    high: PositiveFloat

    @property
    def half_width(self) -> float:
        """Half of the interval, as a fraction of the ratio."""
        return (self.high - self.low) / 2 / self.value


@dataclass(frozen=True)
class PairedTTest:
    """A paired t test over seeds.

    Attributes:
        difference: Mean of method minus baseline.
        low: Lower end of the 95 % confidence interval of ``difference``.
        high: Upper end of the interval.
        p: Two-sided p value. ``p`` and the interval are None with fewer than two seeds, or if all
            differences are equal.
    """

    difference: float
    low: float | None
    high: float | None
    p: float | None


def paired_drop(
    reference_correct: NDArray[np.bool_], candidate_correct: NDArray[np.bool_]
) -> AccuracyDrop:
    """Compares two models on the same images.

    The drop is the difference of two proportions, lost and gained. Its 95 % interval combines their
    exact (Clopper-Pearson) intervals by the method of variance estimates recovery (MOVER; Zou and
    Donner, Statistics in Medicine 27, 2008), with the correlation of two counts of one multinomial.
    By enumeration of all outcomes (11 to 120 images), its coverage and that of the one-sided bound
    are at least 95 % as long as at most 80 % of the predictions differ. The exact interval
    conditional on the number of differing images is not used: it ends at the estimate when all
    differences have one sign. Without any difference the interval extends about 3.7 images to
    either side, and the bound is about 3 images.

    The arguments, bool [n], are True where an image is classified correctly.

    Raises:
        MeasurementError: The shapes differ, or there are no images.
    """
    if reference_correct.shape != candidate_correct.shape or not reference_correct.size:
        raise MeasurementError(
            "paired drop",
            f"got {len(candidate_correct)} predictions for {len(reference_correct)} images",
            "evaluate both models on the same images",
        )
    images = len(reference_correct)
    lost = int(np.sum(reference_correct & ~candidate_correct))
    gained = int(np.sum(~reference_correct & candidate_correct))
    return AccuracyDrop.of_counts(lost, gained, images)


def paired_balanced_drop(
    reference_correct: NDArray[np.bool_],
    candidate_correct: NDArray[np.bool_],
    labels: NDArray[np.integer],
) -> BalancedAccuracyDrop:
    """Compares the balanced accuracy of two models on the same images.

    The images of a class are a sample of their own, so the drop is a mean of independent drops, one
    per class that occurs in ``labels``, int [n]. Its 95 % interval combines their intervals, those
    of ``paired_drop``, by MOVER: the squared distances of an end from the estimates add up. Classes
    with few images widen the interval: with 10 classes of 10 images and no difference, the bound is
    8.2 points. A bootstrap would have an interval of width 0 there.

    Raises:
        MeasurementError: The shapes differ, or there are no images.
    """
    drops = [
        paired_drop(reference_correct[labels == label], candidate_correct[labels == label])
        for label in np.unique(labels)
    ]
    return BalancedAccuracyDrop.of_counts(
        [drop.lost for drop in drops],
        [drop.gained for drop in drops],
        [drop.images for drop in drops],
    )


def paired_ratio(ratios: Sequence[float], reference: Sequence[float] | None = None) -> LatencyRatio:
    """Summarizes latency ratios of several rounds.

    The value is the geometric mean; the interval is Student's t interval of the logarithms.

    Args:
        ratios: Latency of the model in each round, relative to any common unit.
        reference: Latency of the reference model in the same rounds and in the same unit; 1 by
            default.

    Raises:
        MeasurementError: The numbers of rounds differ, or there are fewer than two.
    """
    rounds = len(ratios)
    reference = [1.0] * rounds if reference is None else reference
    if rounds != len(reference) or rounds < 2:
        raise MeasurementError(
            "paired ratio",
            f"got {rounds} rounds of the model and {len(reference)} of the reference",
            "time both models in the same rounds, at least two",
        )
    mean, margin = _mean_and_margin(np.log(ratios) - np.log(reference))
    return LatencyRatio(math.exp(mean), math.exp(mean - margin), math.exp(mean + margin))


def paired_t_test(method: Sequence[float], baseline: Sequence[float]) -> PairedTTest:
    """Compares the results of two methods, one per seed, in the same order of seeds."""
    from scipy.stats import ttest_rel

    differences = np.subtract(method, baseline)
    if len(differences) < 2 or np.ptp(differences) == 0:
        return PairedTTest(float(differences.mean()), None, None, None)
    mean, margin = _mean_and_margin(differences)
    p = float(ttest_rel(method, baseline).pvalue)
    return PairedTTest(mean, mean - margin, mean + margin, p)


def mcnemar(method_correct: NDArray[np.bool_], baseline_correct: NDArray[np.bool_]) -> float:
    """Two-sided p value of McNemar's exact test; the arguments are as for ``paired_drop``."""
    from scipy.stats import binomtest

    gained = int(np.sum(method_correct & ~baseline_correct))
    lost = int(np.sum(~method_correct & baseline_correct))
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction of p values for multiple tests; None stays None."""
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None and math.isfinite(p))
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        corrected[i] = largest
    return corrected


def _mean_and_margin(values: NDArray[np.floating]) -> tuple[float, float]:
    """Mean of a sample, and the half-width of its 95 % Student's t interval."""
    from scipy import stats

    margin = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return float(values.mean()), float(margin)


def _first(suffices: Callable[[int], bool]) -> int | None:
    """The smallest number of images that suffices, as all larger ones do; None above 10 million."""
    if not suffices(_MOST_IMAGES):
        return None
    return 1 + bisect.bisect_left(range(1, _MOST_IMAGES), True, key=suffices)


def _mean_difference_interval(
    counts: Sequence[tuple[float, float, float]], level: float
) -> tuple[float, float]:
    """MOVER interval of the mean of independent differences; lost, gained and images of each."""
    differences = np.array([(lost - gained) / images for lost, gained, images in counts])
    ends = np.array([_difference_interval(*count, level) for count in counts])
    low, high = np.linalg.norm(ends - differences[:, np.newaxis], axis=0) / len(counts)
    mean = differences.mean()
    return float(mean - low), float(mean + high)


def _difference_interval(
    lost: float, gained: float, images: float, level: float
) -> tuple[float, float]:
    a, a_low, a_high = _proportion(lost, images, level)
    b, b_low, b_high = _proportion(gained, images, level)
    both = (1 - a) * (1 - b)
    correlation = -math.sqrt(a * b / both) if both else 0.0

    def margin(x: float, y: float) -> float:
        return math.sqrt(x * x + y * y - 2 * correlation * x * y)

    return a - b - margin(a - a_low, b_high - b), a - b + margin(a_high - a, b - b_low)


def _proportion(count: float, images: float, level: float) -> tuple[float, float, float]:
    """A proportion with its exact interval, which beta quantiles extend to fractional counts."""
    from scipy.special import betaincinv

    tail, rest = (1 - level) / 2, images - count
    low = betaincinv(count, rest + 1, tail) if count > 0 else 0.0
    high = betaincinv(count + 1, rest, 1 - tail) if rest > 0 else 1.0
    return count / images, float(low), float(high)
