import pytest
import torch
from pydantic import ValidationError

from pipeline.errors import ParameterError
from pipeline.losses import (
    CrossEntropy,
    DistillationLoss,
    DISTLoss,
    DKDLoss,
    FiGKDLoss,
    KDLoss,
    LogitMSELoss,
    build_loss,
)
from pipeline.params.student import distill_model
from pipeline.plugins import LOSSES
from pipeline.plugins.section import NonNegativeFloat

ORDER = [6, 0, 5, 1, 4, 2, 3]
RECIPE = {"epochs": 1, "batch_size": 4, "lr": 0.1, "weight_decay": 0.0, "label_smoothing": 0.1}
OPTIONS = {
    "figkd": {"detail_weight": 0.3, "wavelet": "db2"},
    "kd": {"temperature": 3.0},
    "dkd": {"beta": 2.0},
    "dist": {"gamma": 2.0},
    "logit_mse": {"weight": 0.2, "centered": True},
    "cross_entropy": {},
}
EXPECTED = {
    "figkd": FiGKDLoss(7, class_order=ORDER, label_smoothing=0.1, **OPTIONS["figkd"]),
    "kd": KDLoss(label_smoothing=0.1, **OPTIONS["kd"]),
    "dkd": DKDLoss(label_smoothing=0.1, **OPTIONS["dkd"]),
    "dist": DISTLoss(label_smoothing=0.1, **OPTIONS["dist"]),
    "logit_mse": LogitMSELoss(label_smoothing=0.1, **OPTIONS["logit_mse"]),
    "cross_entropy": CrossEntropy(label_smoothing=0.1),
}


def build(method, order=ORDER, **options):
    sections = {method: {**OPTIONS[method], **options}} if OPTIONS[method] else {}
    recipe = distill_model().model_validate({"method": method, **RECIPE, **sections})
    return build_loss(recipe, 7, order)


def test_every_registered_method_is_tested_here():
    assert set(EXPECTED) == set(LOSSES.names())


@pytest.mark.parametrize("method", EXPECTED)
def test_parameters_and_arguments_give_the_same_loss(logits, labels, method):
    built, expected = build(method), EXPECTED[method]
    assert isinstance(built, DistillationLoss)
    assert built.needs_teacher == expected.needs_teacher == (method != "cross_entropy")
    assert torch.equal(built(logits(1), logits(2), labels), expected(logits(1), logits(2), labels))


@pytest.mark.parametrize("method", EXPECTED)
def test_the_terms_add_up_to_the_loss(logits, labels, method):
    loss = EXPECTED[method]
    terms = loss.terms(logits(1), logits(2), labels)
    assert next(iter(terms)) == "cross_entropy"
    torch.testing.assert_close(sum(terms.values()), loss(logits(1), logits(2), labels))


def test_the_methods_differ(logits, labels):
    losses = {build(method)(logits(1), logits(2), labels).item() for method in EXPECTED}
    assert len(losses) == len(EXPECTED)


def test_cross_entropy_needs_no_teacher(logits, labels, cross_entropy):
    loss = CrossEntropy(label_smoothing=0.25)(logits(1), None, labels)
    assert loss.item() == pytest.approx(cross_entropy(logits(1), labels, 0.25), rel=1e-12)


def test_a_missing_teacher_is_an_error(logits, labels):
    with pytest.raises(TypeError, match=r"KDLoss.*teacher_logits"):
        KDLoss()(logits(1), None, labels)


def test_options_that_do_not_fit_the_classes_are_refused():
    with pytest.raises(ParameterError, match=r"7 classes.*1 to 2 .*haar"):
        build("figkd", wavelet="haar", level=3)
    with pytest.raises(ParameterError, match=r"class order.*permutation"):
        build("figkd", order=[0, 1, 2, 3, 4, 5, 5])


def test_an_unknown_method_is_refused():
    with pytest.raises(ParameterError, match=r"'fikgd'.*figkd"):
        build_loss(distill_model().model_construct(method="fikgd"), 7)


@pytest.fixture
def registered(monkeypatch):
    """Registers a loss for one test."""
    LOSSES.names()
    monkeypatch.setattr(LOSSES, "_entries", dict(LOSSES._entries))

    def register(name, loss):
        LOSSES.register(name)(loss)
        distill_model.cache_clear()

    yield register
    distill_model.cache_clear()


class MarginLoss(DistillationLoss):
    """A loss of another package.

    Args:
        num_classes: Number of classes.
        margin: Largest difference that is ignored.
    """

    def __init__(self, num_classes, *, margin: NonNegativeFloat = 0.5):
        super().__init__()
        self.num_classes = num_classes
        self.margin = margin

    def teacher_terms(self, student, teacher, labels):
        return {"margin": torch.relu((student - teacher).abs() - self.margin).mean()}


def test_a_registered_loss_is_a_method_with_parameters(registered, logits, labels):
    registered("margin", MarginLoss)
    distill = distill_model().model_validate(
        {"method": "margin", **RECIPE, "margin": {"margin": 0.25}}
    )
    loss = build_loss(distill, 7, ORDER)
    assert (loss.num_classes, loss.margin) == (7, 0.25)
    assert list(loss.terms(logits(1), logits(2), labels)) == ["cross_entropy", "margin"]
    with pytest.raises(ValidationError, match=r"margin\.margin\n.*greater than or equal to 0"):
        distill.changed({"margin.margin": -1.0})


def test_a_method_named_like_a_parameter_is_refused(registered):
    registered("epochs", MarginLoss)
    with pytest.raises(TypeError, match=r"distill\.epochs"):
        distill_model()
