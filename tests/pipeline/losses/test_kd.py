import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import log_softmax

from pipeline.losses import KDLoss
from pipeline.params import KD

LABELS = torch.tensor([0, 3, 6, 3])
CLASSES = 7


def batch(seed):
    return torch.from_numpy(np.random.default_rng(seed).normal(1, 4, (len(LABELS), CLASSES)))


def closed_form(student, teacher, temperature, standardised=False):
    """T² times the mean over images of KL(teacher ‖ student), in float64 NumPy."""

    def log_probabilities(logits):
        x = logits.numpy()
        if standardised:
            x = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
        return log_softmax(x / temperature, axis=1)

    p, q = log_probabilities(teacher), log_probabilities(student)
    return temperature**2 * np.mean(np.sum(np.exp(p) * (p - q), axis=1))


@pytest.mark.parametrize("standardised", [False, True])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_loss_is_the_closed_form(temperature, standardised):
    student, teacher = batch(1), batch(2)
    options = KD(weight=0.7, label_weight=0.2, temperature=temperature, standardised=standardised)
    loss = KDLoss(options, 0.1)(student, LABELS, teacher, 0.0)
    expected = closed_form(student, teacher, temperature, standardised)
    rows = log_softmax(student.numpy(), axis=1)
    cross_entropy = -0.9 * np.mean(rows[np.arange(4), LABELS.numpy()]) - 0.1 * np.mean(rows)
    assert loss.parts["divergence"].item() == pytest.approx(expected, rel=1e-7)
    assert loss.total.item() == pytest.approx(0.2 * cross_entropy + 0.7 * expected, rel=1e-7)


def test_at_high_temperature_the_gradient_is_that_of_the_logits_difference():
    """Section 2.1 of arXiv 1503.02531: T² times the gradient tends to (z_s - z_t) / classes."""
    student, teacher = batch(1).requires_grad_(), batch(2)
    options = KD(weight=1.0, label_weight=0.0, temperature=1e4)
    KDLoss(options)(student, LABELS, teacher, 0.0).total.backward()
    difference = student.detach() - teacher
    difference -= difference.mean(dim=1, keepdim=True)
    expected = difference / (CLASSES * len(LABELS))
    torch.testing.assert_close(student.grad, expected, rtol=5e-3, atol=1e-5)


def test_a_student_that_says_what_the_teacher_says_learns_from_the_labels_alone():
    student = batch(1).requires_grad_()
    options = KD(weight=1.0, label_weight=0.0)
    KDLoss(options)(student, LABELS, batch(1), 0.0).total.backward()
    assert student.grad.abs().max() < 1e-12


scales = hnp.arrays(np.float64, (len(LABELS), 1), elements=st.floats(0.1, 50))
shifts = hnp.arrays(np.float64, (len(LABELS), 1), elements=st.floats(-100, 100))


@given(scales, shifts, scales, shifts)
def test_standardised_kd_sees_neither_scale_nor_shift_of_an_images_logits(
    student_scale, student_shift, teacher_scale, teacher_shift
):
    objective = KDLoss(KD(standardised=True, temperature=2.0))

    def divergence(student, teacher):
        return objective(student, LABELS, teacher, 0.0).parts["divergence"]

    changed = divergence(
        batch(1) * torch.from_numpy(student_scale) + torch.from_numpy(student_shift),
        batch(2) * torch.from_numpy(teacher_scale) + torch.from_numpy(teacher_shift),
    )
    # The 1e-7 under the root weighs 1e-6 on a scale of 0.1.
    torch.testing.assert_close(changed, divergence(batch(1), batch(2)), rtol=1e-5, atol=0)


def test_plain_kd_sees_the_scale():
    objective = KDLoss(KD())
    one = objective(batch(1), LABELS, batch(2), 0.0).parts["divergence"]
    other = objective(2 * batch(1), LABELS, batch(2), 0.0).parts["divergence"]
    assert abs(one - other) > 0.1


@given(
    hnp.arrays(np.float16, (2, 6), elements=st.floats(-65504, 65504, width=16)),
    hnp.arrays(np.float32, (2, 6), elements=st.floats(-(2.0**16), 2.0**16, width=32)),
    st.booleans(),
    st.sampled_from([0.5, 4.0]),
)
def test_extreme_and_constant_logits_give_finite_gradients(
    cached, answers, standardised, temperature
):
    objective = KDLoss(KD(standardised=standardised, temperature=temperature))
    labels = torch.tensor([0, 5])
    for values in (answers, np.full_like(answers, answers[0, 0])):
        student = torch.from_numpy(values).requires_grad_()
        loss = objective(student, labels, torch.from_numpy(cached), 1.0).total
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(student.grad).all()
