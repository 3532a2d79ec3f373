"""Reliability diagrams and temperature scaling."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.measure.accuracy import correct
from pipeline.measure.reliability import BINS, fit_temperature, measure_reliability

RNG = np.random.default_rng(3)
LOGITS = RNG.normal(size=(400, 5)).astype(np.float32) * 2
LABELS = np.where(RNG.random(400) < 0.6, LOGITS.argmax(1), RNG.integers(0, 5, 400))


def measured(temperature=1.0):
    return measure_reliability(LOGITS, correct(LOGITS, LABELS), temperature)


@given(st.floats(0.1, 10))
def test_the_bins_have_all_images_and_their_mean_is_the_accuracy(temperature):
    bins = measured(temperature).bins
    assert len(bins) == BINS and sum(each.images for each in bins) == len(LABELS)
    right = sum(each.images * each.accuracy for each in bins if each.images)
    assert right == pytest.approx((LOGITS.argmax(1) == LABELS).sum())
    for at, each in enumerate(bins):
        if each.images:
            assert at / BINS <= each.confidence + 1e-12 and each.confidence <= (at + 1) / BINS
        else:
            assert (each.confidence, each.accuracy) == (None, None)


@given(st.floats(0.1, 10))
def test_scaled_logits_are_measured_like_divided_ones(temperature):
    divided = measure_reliability(LOGITS.astype(np.float64) / temperature, correct(LOGITS, LABELS))
    assert measured(temperature).calibration_error == pytest.approx(divided.calibration_error)


def test_the_temperature_has_the_lowest_cross_entropy_of_pytorch():
    def cross_entropy(temperature):
        logits = torch.from_numpy(LOGITS) / temperature
        return torch.nn.functional.cross_entropy(logits, torch.from_numpy(LABELS)).item()

    found = fit_temperature(LOGITS, LABELS)
    grid = np.geomspace(0.05, 20, 2000)
    assert found == pytest.approx(min(grid, key=cross_entropy), rel=5e-3)


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_the_temperature_of_scaled_logits_is_scaled(factor):
    assert fit_temperature(LOGITS * factor, LABELS) == pytest.approx(
        factor * fit_temperature(LOGITS, LABELS), rel=1e-3
    )


def test_the_temperature_of_a_model_that_is_always_right_or_always_wrong_is_finite():
    sure = np.array([[3.0, 0.0], [0.0, 3.0]])
    assert fit_temperature(sure, np.array([0, 1])) == 0.05
    assert fit_temperature(sure, np.array([1, 0])) == 20


def test_scaling_calibrates_an_overconfident_model():
    probabilities = torch.from_numpy(LOGITS).softmax(1)
    labels = torch.multinomial(probabilities, 1, generator=torch.Generator().manual_seed(0))
    labels, overconfident = labels[:, 0].numpy(), LOGITS * 4
    temperature = fit_temperature(overconfident, labels)
    assert temperature == pytest.approx(4, rel=0.2)
    right = correct(overconfident, labels)
    before = measure_reliability(overconfident, right)
    after = measure_reliability(overconfident, right, temperature)
    assert after.calibration_error < before.calibration_error / 2
