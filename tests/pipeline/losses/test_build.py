import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from pipeline import losses
from pipeline.errors import ParameterError
from pipeline.losses import CrossEntropy, FiGKDLoss, KDLoss, LogitMSELoss
from pipeline.params import KD, Distill, FiGKD, LogitMSE

LABELS = torch.tensor([0, 3, 6, 3])
ORDER = [6, 0, 5, 1, 4, 2, 3]
OPTIONS = {
    "figkd": FiGKD(weight=0.3, wavelet="db2"),
    "kd": KD(temperature=3.0),
    "logit_mse": LogitMSE(weight=0.2, centred=True),
}
EXPECTED = {
    "figkd": FiGKDLoss(OPTIONS["figkd"], 7, ORDER, 0.1),
    "kd": KDLoss(OPTIONS["kd"], 0.1),
    "logit_mse": LogitMSELoss(OPTIONS["logit_mse"], 0.1),
    "cross_entropy": CrossEntropy(0.1),
}


def distill(method, **changes):
    recipe = {"epochs": 1, "batch_size": 4, "lr": 0.1, "weight_decay": 0.0}
    return Distill(method=method, label_smoothing=0.1, **recipe, **{**OPTIONS, **changes})


def batch(seed):
    return torch.from_numpy(np.random.default_rng(seed).normal(1, 4, (len(LABELS), 7)))


@pytest.mark.parametrize("method", EXPECTED)
def test_a_method_is_a_parameter_away(method):
    built, expected = losses.build(distill(method), 7, ORDER), EXPECTED[method]
    assert built.needs_teacher == expected.needs_teacher == (method != "cross_entropy")
    found = built(batch(1), LABELS, batch(2), 1.0)
    assert found.total.item() == expected(batch(1), LABELS, batch(2), 1.0).total.item()
    assert not any(part.requires_grad for part in found.parts.values())


def test_the_methods_differ():
    totals = {
        losses.build(distill(method), 7, ORDER)(batch(1), LABELS, batch(2), 1.0).total.item()
        for method in EXPECTED
    }
    assert len(totals) == len(EXPECTED)


def test_cross_entropy_is_that_of_the_labels():
    rows = log_softmax(batch(1).numpy(), axis=1)
    hard = -np.mean(rows[np.arange(4), LABELS.numpy()])
    loss = CrossEntropy(0.25)(batch(1), LABELS, None, 0.0)
    assert loss.total.item() == pytest.approx(0.75 * hard - 0.25 * np.mean(rows), rel=1e-12)


def test_a_method_that_cannot_work_with_the_classes_is_refused():
    with pytest.raises(ParameterError, match="7 classes allow 1 to 2 for haar"):
        losses.build(distill("figkd", figkd=FiGKD(level=3)), 7, ORDER)
    with pytest.raises(ParameterError, match="class order: is no permutation"):
        losses.build(distill("figkd"), 7, [0, 1, 2, 3, 4, 5, 5])
