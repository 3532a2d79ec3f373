import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.losses import FiGKDLoss, LogitMSELoss


@pytest.mark.parametrize("centered", [False, True])
def test_the_loss_equals_the_error_in_numpy(logits, labels, cross_entropy, centered):
    student, teacher = logits(1), logits(2)
    loss = LogitMSELoss(weight=0.3, label_weight=0.8, centered=centered)
    difference = (student - teacher).numpy()
    if centered:
        difference = difference - difference.mean(axis=1, keepdims=True)
    expected = 0.3 * np.mean(difference**2)
    assert loss.terms(student, teacher, labels)["mse"].item() == pytest.approx(expected, rel=1e-12)
    expected += 0.8 * cross_entropy(student, labels)
    assert loss(student, teacher, labels).item() == pytest.approx(expected, rel=1e-12)


@given(shift=st.floats(-100, 100))
def test_a_constant_shift_does_not_change_centered_mse(logits, labels, shift):
    loss = LogitMSELoss(label_weight=0.0, centered=True)
    found = loss(logits(1) + shift, logits(2), labels)
    torch.testing.assert_close(found, loss(logits(1), logits(2), labels), rtol=1e-9, atol=0)


def test_haar_at_the_maximum_level_is_centered_mse(logits, labels):
    """The approximation of 8 logits is their mean; the other 7 coefficients are the detail."""
    student, teacher = logits(1, classes=8), logits(2, classes=8)
    detail = FiGKDLoss(8, level=3, detail_weight=7.0).terms(student, teacher, labels)["detail"]
    mse = LogitMSELoss(centered=True, weight=8.0).terms(student, teacher, labels)["mse"]
    torch.testing.assert_close(detail, mse, rtol=1e-12, atol=0)
