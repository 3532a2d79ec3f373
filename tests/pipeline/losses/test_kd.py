import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import log_softmax

from pipeline.losses import KDLoss
from pipeline.params import KD

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
def test_the_loss_is_the_closed_form(logits, labels, cross_entropy, temperature, standardized):
    student, teacher = logits(1), logits(2)
    options = KD(weight=0.7, label_weight=0.2, temperature=temperature, standardized=standardized)
    loss = KDLoss(options, 0.1)(student, labels, teacher, 0.0)
    expected = closed_form(student, teacher, temperature, standardized)
    hard = cross_entropy(student, labels, 0.1)
    assert loss.parts["divergence"].item() == pytest.approx(expected, rel=1e-7)
    assert loss.total.item() == pytest.approx(0.2 * hard + 0.7 * expected, rel=1e-7)


def agrees(ours, theirs, batch, value_and_gradient):
    student, teacher, labels = batch
    found = value_and_gradient(lambda s: ours(s, labels, teacher, 0.0).total, student)
    expected = value_and_gradient(lambda s: theirs(s, teacher, labels), student)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_it_is_the_published_one(published, single_batch, value_and_gradient, temperature):
    ours = KDLoss(KD(weight=0.7, label_weight=0.2, temperature=temperature))
    theirs = published("KDLoss", temperature=temperature, alpha=0.2, beta=0.7)
    agrees(ours, theirs, single_batch, value_and_gradient)


def test_the_standardised_one_is_the_published_one_at_the_temperature_of_its_deviation(
    published, single_batch, value_and_gradient
):
    """Its code divides by n - 1 in the deviation, its paper by n: a factor on the temperature."""
    classes = single_batch[0].shape[1]
    ratio = classes / (classes - 1)
    options = KD(weight=9 / ratio, label_weight=1.0, temperature=2 * ratio**0.5, standardized=True)
    theirs = published("LogitStdKDLoss", temperature=2.0, alpha=1.0, beta=9.0)
    agrees(KDLoss(options), theirs, single_batch, value_and_gradient)


def test_at_high_temperature_the_gradient_is_that_of_the_logits_difference(logits, labels):
    """Section 2.1 of arXiv 1503.02531: T² times the gradient tends to (z_s - z_t) / classes."""
    student, teacher = logits(1).requires_grad_(), logits(2)
    options = KD(weight=1.0, label_weight=0.0, temperature=1e4)
    KDLoss(options)(student, labels, teacher, 0.0).total.backward()
    difference = student.detach() - teacher
    difference -= difference.mean(dim=1, keepdim=True)
    expected = difference / (CLASSES * IMAGES)
    torch.testing.assert_close(student.grad, expected, rtol=5e-3, atol=1e-5)


scales = hnp.arrays(np.float64, (IMAGES, 1), elements=st.floats(0.1, 50))
shifts = hnp.arrays(np.float64, (IMAGES, 1), elements=st.floats(-100, 100))


@given(student_scale=scales, student_shift=shifts, teacher_scale=scales, teacher_shift=shifts)
def test_standardised_kd_sees_neither_scale_nor_shift_of_an_images_logits(
    logits, labels, student_scale, student_shift, teacher_scale, teacher_shift
):
    objective = KDLoss(KD(standardized=True, temperature=2.0))

    def divergence(student, teacher):
        return objective(student, labels, teacher, 0.0).parts["divergence"]

    changed = divergence(
        logits(1) * torch.from_numpy(student_scale) + torch.from_numpy(student_shift),
        logits(2) * torch.from_numpy(teacher_scale) + torch.from_numpy(teacher_shift),
    )
    # The 1e-7 under the root weighs 1e-6 on a scale of 0.1.
    torch.testing.assert_close(changed, divergence(logits(1), logits(2)), rtol=1e-5, atol=0)


def test_plain_kd_sees_the_scale(logits, labels):
    objective = KDLoss(KD())
    one = objective(logits(1), labels, logits(2), 0.0).parts["divergence"]
    other = objective(2 * logits(1), labels, logits(2), 0.0).parts["divergence"]
    assert abs(one - other) > 0.1
