"""What holds for every method that learns from a teacher beside FiGKD."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.losses import DISTLoss, DKDLoss, KDLoss, LogitMSELoss
from pipeline.params import DIST, DKD, KD, LogitMSE

RIVALS = {
    "kd": (KDLoss, KD),
    "standardized kd": (KDLoss, lambda **options: KD(standardized=True, **options)),
    "dkd": (DKDLoss, DKD),
    "dist": (DISTLoss, DIST),
    "mse": (LogitMSELoss, LogitMSE),
    "centered mse": (LogitMSELoss, lambda **options: LogitMSE(centered=True, **options)),
}


@pytest.fixture(scope="session", params=RIVALS)
def rival(request):
    """Builds the objective from the options that all have."""
    loss, options = RIVALS[request.param]

    def build(weight=1.0, label_weight=1.0, warmup_epochs=0.0, label_smoothing=0.0):
        chosen = options(weight=weight, label_weight=label_weight, warmup_epochs=warmup_epochs)
        return loss(chosen, label_smoothing)

    return build


def test_the_labels_and_the_teacher_are_weighted(rival, logits, labels):
    student, teacher = logits(1), logits(2)

    def total(**options):
        return rival(label_smoothing=0.1, **options)(student, labels, teacher, 0.0).total.item()

    hard, taught = total(weight=0.0), total(label_weight=0.0)
    expected = torch.nn.functional.cross_entropy(student, labels, label_smoothing=0.1).item()
    assert hard == pytest.approx(expected, rel=1e-12)
    assert taught > 0.01
    both = total(weight=2.5, label_weight=0.3)
    assert both == pytest.approx(0.3 * hard + 2.5 * taught, rel=1e-10)


@pytest.mark.parametrize(
    ("epoch", "share"), [(0.0, 0.0), (0.5, 0.125), (2.0, 0.5), (4.0, 1.0), (9.5, 1.0)]
)
def test_the_teachers_weight_rises_over_the_warm_up(rival, logits, labels, epoch, share):
    student, teacher = logits(1), logits(2)
    full = rival(label_weight=0.0)(student, labels, teacher, epoch).total.item()
    rising = rival(label_weight=0.0, warmup_epochs=4.0)(student, labels, teacher, epoch)
    assert rising.total.item() == pytest.approx(share * full, rel=1e-12, abs=1e-12)


def test_a_student_that_says_what_the_teacher_says_has_nothing_to_learn_from_it(
    rival, logits, labels
):
    student = logits(1).requires_grad_()
    loss = rival(label_weight=0.0)(student, labels, logits(1), 0.0).total
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert student.grad.abs().max() < 1e-12


def test_a_step_towards_the_teacher_lowers_the_loss(rival, logits, labels):
    student, teacher = logits(1), logits(2)
    objective = rival(label_weight=0.0)
    totals = [
        objective(torch.lerp(student, teacher, way), labels, teacher, 0.0).total.item()
        for way in (0.0, 0.5, 0.9)
    ]
    assert totals[0] > totals[1] > totals[2]


def test_parts_are_logged_and_hold_no_graph(rival, logits, labels):
    parts = rival()(logits(1).requires_grad_(), labels, logits(2), 0.0).parts
    assert len(parts) >= 2
    assert not any(part.requires_grad for part in parts.values())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_compared_in_single_precision(rival, logits, labels, dtype):
    student, teacher = logits(1).to(dtype).requires_grad_(), logits(2).to(dtype)
    loss = rival()(student, labels, teacher, 0.0).total
    assert loss.dtype == torch.float32
    single = rival()(student.detach().float(), labels, teacher.float(), 0.0).total
    assert loss.item() == single.item()
    loss.backward()
    assert student.grad.dtype == dtype


@given(
    cached=hnp.arrays(np.float16, (2, 6), elements=st.floats(-65504, 65504, width=16)),
    answers=hnp.arrays(np.float32, (2, 6), elements=st.floats(-(2.0**16), 2.0**16, width=32)),
)
def test_extreme_and_constant_logits_give_finite_gradients(rival, cached, answers):
    labels = torch.tensor([0, 5])
    for values in (answers, np.full_like(answers, answers[0, 0])):
        student = torch.from_numpy(values).requires_grad_()
        loss = rival()(student, labels, torch.from_numpy(cached), 1.0).total
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(student.grad).all()
