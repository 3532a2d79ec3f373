import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from pipeline.losses import DISTLoss
from pipeline.params import DIST


def test_the_loss_is_that_of_numpys_correlations(logits, labels, cross_entropy):
    student, teacher = logits(1), logits(2)
    options = DIST(weight=0.3, label_weight=0.9, beta=1.5, gamma=6.0, temperature=3.0)
    loss = DISTLoss(options, 0.1)(student, labels, teacher, 0.0)
    p, q = (softmax(x.numpy() / 3, axis=1) for x in (student, teacher))
    inter = 9 * (1 - np.mean([np.corrcoef(p[i], q[i])[0, 1] for i in range(4)]))
    intra = 9 * (1 - np.mean([np.corrcoef(p[:, c], q[:, c])[0, 1] for c in range(7)]))
    assert loss.parts["inter"].item() == pytest.approx(inter, rel=1e-6)
    assert loss.parts["intra"].item() == pytest.approx(intra, rel=1e-6)
    expected = 0.9 * cross_entropy(student, labels, 0.1) + 0.3 * (1.5 * inter + 6 * intra)
    assert loss.total.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_it_is_the_published_one(published, single_batch, value_and_gradient, temperature):
    student, teacher, labels = single_batch
    options = DIST(label_weight=0.0, beta=2.0, gamma=0.7, temperature=temperature)
    theirs = published("DISTLoss", beta=2.0, gamma=0.7, tau=temperature)
    found = value_and_gradient(lambda s: DISTLoss(options)(s, labels, teacher, 0.0).total, student)
    expected = value_and_gradient(lambda s: theirs(s, teacher, labels), student)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@given(shift=st.floats(-100, 100))
def test_it_does_not_see_a_shift_of_the_logits(logits, labels, shift):
    objective = DISTLoss(DIST())
    moved = objective(logits(1) + shift, labels, logits(2), 0.0).parts
    still = objective(logits(1), labels, logits(2), 0.0).parts
    for name in ("inter", "intra"):
        torch.testing.assert_close(moved[name], still[name], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("value", [0.0, 1 / 3, 17.0])
@pytest.mark.parametrize("images", [1, 3, 4])
def test_a_student_that_starts_with_equal_answers_is_not_thrown_away(logits, images, value):
    """Rounding makes the correlation of a constant anything, and its gradient enormous."""
    student = torch.full((images, 7), value, requires_grad=True)
    teacher = logits(2, images).float()
    labels = torch.arange(images)
    loss = DISTLoss(DIST(label_weight=0.0))(student, labels, teacher, 0.0)
    loss.total.backward()
    assert loss.total.item() == pytest.approx(2.0)  # no correlation at all
    assert student.grad.abs().max() == 0


def test_the_same_answer_to_every_image_leaves_what_the_classes_tell(logits):
    teacher = logits(2).float()
    student = teacher[:1].repeat(4, 1).requires_grad_()
    loss = DISTLoss(DIST(label_weight=0.0))(student, torch.arange(4), teacher, 0.0)
    loss.total.backward()
    assert loss.parts["intra"].item() == pytest.approx(1.0)
    assert 0 < loss.parts["inter"].item() < 1
    assert 0 < student.grad.abs().max() < 1
