import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.losses import FiGKDLoss, LogitMSELoss
from pipeline.params import FiGKD, LogitMSE


@pytest.mark.parametrize("centered", [False, True])
def test_the_loss_is_the_one_written_out(logits, labels, cross_entropy, centered):
    student, teacher = logits(1), logits(2)
    options = LogitMSE(weight=0.3, label_weight=0.8, centered=centered)
    loss = LogitMSELoss(options)(student, labels, teacher, 0.0)
    difference = (student - teacher).numpy()
    if centered:
        difference = difference - difference.mean(axis=1, keepdims=True)
    expected = np.mean(difference**2)
    assert loss.parts["mse"].item() == pytest.approx(expected, rel=1e-12)
    hard = cross_entropy(student, labels)
    assert loss.total.item() == pytest.approx(0.8 * hard + 0.3 * expected, rel=1e-12)


@given(shift=st.floats(-100, 100))
def test_the_centred_form_does_not_see_a_constant_shift(logits, labels, shift):
    objective = LogitMSELoss(LogitMSE(centered=True))
    found = objective(logits(1) + shift, labels, logits(2), 0.0).parts["mse"]
    expected = objective(logits(1), labels, logits(2), 0.0).parts["mse"]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)


def test_haar_at_the_deepest_level_is_the_centred_form(logits, labels):
    """The content of 8 logits is then their mean; 7 of the 8 coefficients are left."""
    student, teacher = logits(1, classes=8), logits(2, classes=8)
    detail = FiGKDLoss(FiGKD(level=3), 8)(student, labels, teacher, 0.0).parts["detail"]
    centered = LogitMSELoss(LogitMSE(centered=True))(student, labels, teacher, 0.0).parts["mse"]
    torch.testing.assert_close(7 * detail, 8 * centered, rtol=1e-12, atol=0)
