from typing import get_args

import pytest

from pipeline import losses
from pipeline.errors import ParameterError
from pipeline.losses import CrossEntropy, DISTLoss, DKDLoss, FiGKDLoss, KDLoss, LogitMSELoss
from pipeline.params import DIST, DKD, KD, Distill, FiGKD, LogitMSE

ORDER = [6, 0, 5, 1, 4, 2, 3]
OPTIONS = {
    "figkd": FiGKD(weight=0.3, wavelet="db2"),
    "kd": KD(temperature=3.0),
    "dkd": DKD(beta=2.0),
    "dist": DIST(gamma=2.0),
    "logit_mse": LogitMSE(weight=0.2, centered=True),
}
EXPECTED = {
    "figkd": FiGKDLoss(OPTIONS["figkd"], 7, ORDER, 0.1),
    "kd": KDLoss(OPTIONS["kd"], 0.1),
    "dkd": DKDLoss(OPTIONS["dkd"], 0.1),
    "dist": DISTLoss(OPTIONS["dist"], 0.1),
    "logit_mse": LogitMSELoss(OPTIONS["logit_mse"], 0.1),
    "cross_entropy": CrossEntropy(0.1),
}


def distill(method, **changes):
    recipe = {"epochs": 1, "batch_size": 4, "lr": 0.1, "weight_decay": 0.0}
    return Distill(method=method, label_smoothing=0.1, **recipe, **{**OPTIONS, **changes})


def test_every_method_is_tried_here():
    assert set(EXPECTED) == set(get_args(Distill.model_fields["method"].annotation))


@pytest.mark.parametrize("method", EXPECTED)
def test_a_method_is_a_parameter_away(logits, labels, method):
    built, expected = losses.build(distill(method), 7, ORDER), EXPECTED[method]
    assert built.needs_teacher == expected.needs_teacher == (method != "cross_entropy")
    found = built(logits(1), labels, logits(2), 1.0)
    assert found.total.item() == expected(logits(1), labels, logits(2), 1.0).total.item()
    assert not any(part.requires_grad for part in found.parts.values())


def test_the_methods_differ(logits, labels):
    totals = {
        losses.build(distill(method), 7, ORDER)(logits(1), labels, logits(2), 1.0).total.item()
        for method in EXPECTED
    }
    assert len(totals) == len(EXPECTED)


def test_cross_entropy_is_that_of_the_labels(logits, labels, cross_entropy):
    loss = CrossEntropy(0.25)(logits(1), labels, None, 0.0)
    assert loss.total.item() == pytest.approx(cross_entropy(logits(1), labels, 0.25), rel=1e-12)


def test_a_method_that_cannot_work_with_the_classes_is_refused():
    with pytest.raises(ParameterError, match="7 classes allow 1 to 2 for haar"):
        losses.build(distill("figkd", figkd=FiGKD(level=3)), 7, ORDER)
    with pytest.raises(ParameterError, match="class order: is no permutation"):
        losses.build(distill("figkd"), 7, [0, 1, 2, 3, 4, 5, 5])
