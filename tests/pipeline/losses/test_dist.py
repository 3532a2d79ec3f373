import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from pipeline.losses import DISTLoss


def test_the_loss_equals_correlations_in_numpy(logits, labels, cross_entropy):
    student, teacher = logits(1), logits(2)
    loss = DISTLoss(
        label_smoothing=0.1, weight=0.3, label_weight=0.9, beta=1.5, gamma=6.0, temperature=3.0
    )
    terms = loss.terms(student, teacher, labels)
    p, q = (softmax(x.numpy() / 3, axis=1) for x in (student, teacher))
    inter = 9 * (1 - np.mean([np.corrcoef(p[i], q[i])[0, 1] for i in range(4)]))
    intra = 9 * (1 - np.mean([np.corrcoef(p[:, c], q[:, c])[0, 1] for c in range(7)]))
    assert terms["inter_class"].item() == pytest.approx(0.3 * 1.5 * inter, rel=1e-6)
    assert terms["intra_class"].item() == pytest.approx(0.3 * 6 * intra, rel=1e-6)
    expected = 0.9 * cross_entropy(student, labels, 0.1) + 0.3 * (1.5 * inter + 6 * intra)
    assert loss(student, teacher, labels).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_loss_equals_that_of_torchdistill(
    published, single_batch, value_and_gradient, temperature
):
    student, teacher, labels = single_batch
    ours = DISTLoss(label_weight=0.0, beta=2.0, gamma=0.7, temperature=temperature)
    theirs = published("DISTLoss", beta=2.0, gamma=0.7, tau=temperature)
    found, expected = (
        value_and_gradient(lambda s, loss=loss: loss(s, teacher, labels), student)
        for loss in (ours, theirs)
    )
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@given(shift=st.floats(-100, 100))
def test_a_shift_of_the_logits_changes_nothing(logits, labels, shift):
    loss = DISTLoss(label_weight=0.0)
    torch.testing.assert_close(
        loss(logits(1) + shift, logits(2), labels),
        loss(logits(1), logits(2), labels),
        rtol=1e-9,
        atol=1e-9,
    )


@pytest.mark.parametrize("value", [0.0, 1 / 3, 17.0])
@pytest.mark.parametrize("images", [1, 3, 4])
def test_constant_student_logits_have_no_gradient(logits, images, value):
    """Rounding makes the correlation of a constant arbitrary, and its gradient enormous."""
    student = torch.full((images, 7), value, requires_grad=True)
    loss = DISTLoss(label_weight=0.0)(student, logits(2, images).float(), torch.arange(images))
    loss.backward()
    assert loss.item() == pytest.approx(2.0)  # both correlations are 0
    assert student.grad.abs().max() == 0


def test_equal_logits_for_all_images_leave_the_inter_class_relation(logits):
    teacher = logits(2).float()
    student = teacher[:1].repeat(4, 1).requires_grad_()
    terms = DISTLoss(label_weight=0.0).terms(student, teacher, torch.arange(4))
    sum(terms.values()).backward()
    assert terms["intra_class"].item() == pytest.approx(1.0)
    assert 0 < terms["inter_class"].item() < 1
    assert 0 < student.grad.abs().max() < 1
