import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax

from pipeline.losses import FiGKDLoss, LogitMSELoss
from pipeline.params import FiGKD, LogitMSE

LABELS = torch.tensor([0, 3, 6, 3])


def batch(seed, classes=7):
    return torch.from_numpy(np.random.default_rng(seed).normal(1, 4, (len(LABELS), classes)))


@pytest.mark.parametrize("centred", [False, True])
def test_the_loss_is_the_one_written_out(centred):
    student, teacher = batch(1), batch(2)
    loss = LogitMSELoss(LogitMSE(weight=0.3, centred=centred))(student, LABELS, teacher, 0.0)
    difference = (student - teacher).numpy()
    if centred:
        difference = difference - difference.mean(axis=1, keepdims=True)
    rows = log_softmax(student.numpy(), axis=1)
    cross_entropy = -np.mean(rows[np.arange(4), LABELS.numpy()])
    expected = np.mean(difference**2)
    assert loss.parts["mse"].item() == pytest.approx(expected, rel=1e-12)
    assert loss.total.item() == pytest.approx(cross_entropy + 0.3 * expected, rel=1e-12)


@given(st.floats(-100, 100))
def test_the_centred_form_does_not_see_a_constant_shift(shift):
    objective = LogitMSELoss(LogitMSE(centred=True))
    found = objective(batch(1) + shift, LABELS, batch(2), 0.0).parts["mse"]
    expected = objective(batch(1), LABELS, batch(2), 0.0).parts["mse"]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)


def test_haar_at_the_deepest_level_is_the_centred_form():
    """The content of 8 logits is then their mean; 7 of the 8 coefficients are left."""
    student, teacher = batch(1, classes=8), batch(2, classes=8)
    detail = FiGKDLoss(FiGKD(level=3), 8)(student, LABELS, teacher, 0.0).parts["detail"]
    centred = LogitMSELoss(LogitMSE(centred=True))(student, LABELS, teacher, 0.0).parts["mse"]
    torch.testing.assert_close(7 * detail, 8 * centred, rtol=1e-12, atol=0)


@pytest.mark.parametrize("centred", [False, True])
def test_large_half_precision_answers_give_finite_gradients(centred):
    cached = torch.tensor([[65504.0, -65504.0, 65504.0]], dtype=torch.float16)
    for value in (0.0, 65504.0):
        student = torch.full((1, 3), value, requires_grad=True)
        objective = LogitMSELoss(LogitMSE(centred=centred))
        objective(student, torch.tensor([1]), cached, 0.0).total.backward()
        assert torch.isfinite(student.grad).all()
