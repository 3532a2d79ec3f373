import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import log_softmax

from pipeline.losses import KDLoss

IMAGES, CLASSES = 4, 7


def closed_form(student, teacher, temperature, standardized=False):
    """T² times the mean over images of KL(teacher ‖ student), in float64 NumPy."""

    def log_probabilities(logits):
        x = logits.numpy()
        if standardized:
            x = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
        return log_softmax(x / temperature, axis=1)

    p, q = log_probabilities(teacher), log_probabilities(student)
    return temperature**2 * np.mean(np.sum(np.exp(p) * (p - q), axis=1))


@pytest.mark.parametrize("standardized", [False, True])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_loss_equals_the_closed_form(logits, labels, cross_entropy, temperature, standardized):
    student, teacher = logits(1), logits(2)
    loss = KDLoss(
        label_smoothing=0.1,
        weight=0.7,
        label_weight=0.2,
        temperature=temperature,
        standardized=standardized,
    )
    expected = 0.7 * closed_form(student, teacher, temperature, standardized)
    assert loss.terms(student, teacher, labels)["kd"].item() == pytest.approx(expected, rel=1e-7)
    expected += 0.2 * cross_entropy(student, labels, 0.1)
    assert loss(student, teacher, labels).item() == pytest.approx(expected, rel=1e-7)


def assert_same(ours, theirs, batch, value_and_gradient):
    student, teacher, labels = batch
    found, expected = (
        value_and_gradient(lambda s, loss=loss: loss(s, teacher, labels), student)
        for loss in (ours, theirs)
    )
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_loss_equals_that_of_torchdistill(
    published, single_batch, value_and_gradient, temperature
):
    ours = KDLoss(weight=0.7, label_weight=0.2, temperature=temperature)
    theirs = published("KDLoss", temperature=temperature, alpha=0.2, beta=0.7)
    assert_same(ours, theirs, single_batch, value_and_gradient)


def test_standardized_kd_equals_that_of_torchdistill(published, single_batch, value_and_gradient):
    """torchdistill divides the variance by n - 1, the paper by n; the temperature compensates."""
    classes = single_batch[0].shape[1]
    ratio = classes / (classes - 1)
    ours = KDLoss(weight=9 / ratio, label_weight=1.0, temperature=2 * ratio**0.5, standardized=True)
    theirs = published("LogitStdKDLoss", temperature=2.0, alpha=1.0, beta=9.0)
    assert_same(ours, theirs, single_batch, value_and_gradient)


def test_at_high_temperature_the_gradient_is_the_difference_of_the_logits(logits, labels):
    """Section 2.1 of arXiv 1503.02531: T² times the gradient tends to (z_s - z_t) / classes."""
    student, teacher = logits(1).requires_grad_(), logits(2)
    loss = KDLoss(weight=1.0, label_weight=0.0, temperature=1e4)
    loss(student, teacher, labels).backward()
    difference = student.detach() - teacher
    difference -= difference.mean(dim=1, keepdim=True)
    expected = difference / (CLASSES * IMAGES)
    torch.testing.assert_close(student.grad, expected, rtol=5e-3, atol=1e-5)


scales = hnp.arrays(np.float64, (IMAGES, 1), elements=st.floats(0.1, 50))
shifts = hnp.arrays(np.float64, (IMAGES, 1), elements=st.floats(-100, 100))


@given(student_scale=scales, student_shift=shifts, teacher_scale=scales, teacher_shift=shifts)
def test_standardized_kd_ignores_scale_and_shift_of_the_logits_of_an_image(
    logits, labels, student_scale, student_shift, teacher_scale, teacher_shift
):
    loss = KDLoss(label_weight=0.0, standardized=True, temperature=2.0)
    changed = loss(
        logits(1) * torch.from_numpy(student_scale) + torch.from_numpy(student_shift),
        logits(2) * torch.from_numpy(teacher_scale) + torch.from_numpy(teacher_shift),
        labels,
    )
    # The epsilon of 1e-7 in the variance has a relative effect of 1e-6 at a scale of 0.1.
    expected = loss(logits(1), logits(2), labels)
    torch.testing.assert_close(changed, expected, rtol=1e-5, atol=0)


def test_plain_kd_depends_on_the_scale(logits, labels):
    loss = KDLoss(label_weight=0.0)
    difference = loss(logits(1), logits(2), labels) - loss(2 * logits(1), logits(2), labels)
    assert abs(difference) > 0.1
