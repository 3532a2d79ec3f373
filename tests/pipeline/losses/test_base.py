"""Behavior that all losses with a teacher share."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.losses import DISTLoss, DKDLoss, KDLoss, LogitMSELoss

LOSSES = {
    "kd": (KDLoss, {}),
    "standardized kd": (KDLoss, {"standardized": True}),
    "dkd": (DKDLoss, {}),
    "dist": (DISTLoss, {}),
    "mse": (LogitMSELoss, {}),
    "centered mse": (LogitMSELoss, {"centered": True}),
}


@pytest.fixture(scope="session", params=LOSSES)
def make_loss(request):
    """Builds a loss from the options that these losses share."""
    loss, own = LOSSES[request.param]

    def build(**options):
        return loss(**{"weight": 1.0, "label_weight": 1.0, "warmup_epochs": 0.0, **own, **options})

    return build


def test_label_and_teacher_terms_are_weighted(make_loss, logits, labels):
    def value(**options):
        return make_loss(label_smoothing=0.1, **options)(logits(1), logits(2), labels).item()

    hard, soft = value(weight=0.0), value(label_weight=0.0)
    expected = torch.nn.functional.cross_entropy(logits(1), labels, label_smoothing=0.1).item()
    assert hard == pytest.approx(expected, rel=1e-12)
    assert soft > 0.01
    both = value(weight=2.5, label_weight=0.3)
    assert both == pytest.approx(0.3 * hard + 2.5 * soft, rel=1e-10)


@pytest.mark.parametrize(
    ("epoch", "scale"), [(0.0, 0.0), (0.5, 0.125), (2.0, 0.5), (4.0, 1.0), (9.5, 1.0)]
)
def test_the_warm_up_scales_the_teacher_terms(make_loss, logits, labels, epoch, scale):
    loss = make_loss(warmup_epochs=4.0)
    assert loss.teacher_scale(epoch) == scale
    full = loss.terms(logits(1), logits(2), labels)
    scaled = loss.terms(logits(1), logits(2), labels, teacher_scale=scale)
    assert scaled.pop("cross_entropy") == full.pop("cross_entropy")
    for name, term in scaled.items():
        assert term.item() == pytest.approx(scale * full[name].item(), rel=1e-12, abs=1e-12)
    assert make_loss(warmup_epochs=0.0).teacher_scale(epoch) == 1.0


def test_equal_logits_have_no_teacher_loss(make_loss, logits, labels):
    student = logits(1).requires_grad_()
    loss = make_loss(label_weight=0.0)(student, logits(1), labels)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert student.grad.abs().max() < 1e-12


def test_moving_toward_the_teacher_lowers_the_loss(make_loss, logits, labels):
    loss = make_loss(label_weight=0.0)
    losses = [
        loss(torch.lerp(logits(1), logits(2), fraction), logits(2), labels).item()
        for fraction in (0.0, 0.5, 0.9)
    ]
    assert losses[0] > losses[1] > losses[2]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_computed_in_float32(make_loss, logits, labels, dtype):
    student, teacher = logits(1).to(dtype).requires_grad_(), logits(2).to(dtype)
    loss = make_loss()(student, teacher, labels)
    assert loss.dtype == torch.float32
    assert loss.item() == make_loss()(student.detach().float(), teacher.float(), labels).item()
    loss.backward()
    assert student.grad.dtype == dtype


@given(
    cached=hnp.arrays(np.float16, (2, 6), elements=st.floats(-65504, 65504, width=16)),
    logits_of_student=hnp.arrays(
        np.float32, (2, 6), elements=st.floats(-(2.0**16), 2.0**16, width=32)
    ),
)
def test_extreme_and_constant_logits_give_finite_gradients(make_loss, cached, logits_of_student):
    labels = torch.tensor([0, 5])
    constant = np.full_like(logits_of_student, logits_of_student[0, 0])
    for values in (logits_of_student, constant):
        student = torch.from_numpy(values).requires_grad_()
        loss = make_loss()(student, torch.from_numpy(cached), labels)
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(student.grad).all()
