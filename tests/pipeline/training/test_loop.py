import math
from itertools import chain, pairwise

import numpy as np
import pytest
import torch

from pipeline.errors import TrainingError
from pipeline.losses import (
    CrossEntropy,
    DISTLoss,
    DKDLoss,
    FiGKDLoss,
    KDLoss,
    LogitMSELoss,
)
from pipeline.models.classifier import build_classifier
from pipeline.training.loop import kept_epoch, stops_early
from pipeline.training.state import Epoch
from pipeline.training.teacher import CachedTeacher
from pipeline.training.validation import compute_logits
from tests.pipeline.training.toy_models import (
    CPU,
    SIZE,
    FixedNet,
    RecordingLoss,
    cached_teacher,
    classifier,
    colored,
    gray,
    labeled_by_index,
    recipe,
    run,
    small_net,
    train_threshold,
    weight_after_one_epoch,
    weights_after,
)


@pytest.mark.parametrize("optimizer", [{"lr": 0.05}, {"optimizer": "adamw", "lr": 0.01}])
def test_training_fits_a_simple_problem(optimizer):
    model, val = small_net(3), colored(30, seed=2)
    result = run(model, CrossEntropy(), recipe(epochs=12, **optimizer), colored(60, seed=1), val)
    assert not result.model.training
    losses = [epoch.loss for epoch in result.history]
    assert [epoch.epoch for epoch in result.history] == list(range(1, 13))
    assert losses[-1] < 0.5 * losses[0]
    assert result.best.val_accuracy > 0.9
    right = compute_logits(result.model, val, CPU).argmax(1) == val.labels
    assert right.mean() == result.best.val_accuracy


@pytest.mark.parametrize(
    ("loss", "term"),
    [
        (FiGKDLoss(3, bands="all"), "detail"),
        (KDLoss(weight=1.0, label_weight=0.0), "kd"),
        (DKDLoss(beta=1.0, warmup_epochs=0.0), "tckd"),
        (DISTLoss(), "intra_class"),
        (LogitMSELoss(weight=1.0), "mse"),
    ],
    ids=["figkd", "kd", "dkd", "dist", "mse"],
)
def test_distillation_reduces_the_loss_term(loss, term):
    def strongest_color(pixels):
        return 20 * (pixels.mean(dim=(2, 3)) - 0.4)

    split, val = colored(60, seed=1), colored(30, seed=2)
    result = run(
        small_net(3),
        loss,
        recipe(epochs=10),
        split,
        val,
        teacher=cached_teacher(split, 4, strongest_color),
    )
    distances = [epoch.terms[term] for epoch in result.history]
    assert distances[-1] < 0.5 * distances[0]


@pytest.mark.parametrize("changes", [{}, {"optimizer": "adamw"}, {"ema_decay": 0.9}])
def test_training_is_deterministic(changes):
    first, second = weights_after(**changes), weights_after(**changes)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(("steps", "epochs"), [({"min": 13}, 5), ({"max": 7}, 2), ({}, 3)])
def test_the_number_of_epochs_keeps_the_limits_of_steps(steps, epochs):
    split = colored(11, seed=1)  # 3 steps per epoch
    settings = recipe(epochs=3, batch_size=4, steps=steps)
    assert len(run(small_net(3), CrossEntropy(), settings, split, split).history) == epochs


def test_seed_changes_the_weights():
    first, second = weights_after(seed=0), weights_after(seed=1)
    assert not torch.equal(first["backbone.0.weight"], second["backbone.0.weight"])


@pytest.mark.parametrize(("images", "batch_size", "steps"), [(11, 4, 3), (9, 4, 3), (5, 8, 1)])
def test_every_image_is_used_once_per_epoch(images, batch_size, steps):
    split, recorder = labeled_by_index(images), RecordingLoss()
    history = run(
        classifier(FixedNet(images), images),
        recorder,
        recipe(epochs=3, batch_size=batch_size),
        split,
        split,
    ).history
    orders = []
    for epoch in range(3):
        batches = [labels.tolist() for _, labels, _, _ in recorder.calls[epoch * steps :][:steps]]
        orders.append(batches)
        assert sorted(chain.from_iterable(batches)) == list(range(images))
        sizes = [len(batch) for batch in batches]
        assert max(sizes) - min(sizes) <= 1
    assert steps == 1 or orders[0] != orders[1]
    progress = [epoch for *_, epoch in recorder.calls]
    assert progress == pytest.approx([k / steps for k in range(3 * steps)])
    # The mean over images, although batches have different sizes.
    assert [epoch.loss for epoch in history] == pytest.approx([(images - 1) / 2] * 3)
    assert [epoch.terms["quarter"] for epoch in history] == pytest.approx([(images - 1) / 8] * 3)


def test_without_teacher_every_epoch_has_a_new_view():
    split, recorder = labeled_by_index(4), RecordingLoss()
    run(classifier(FixedNet(4), 4), recorder, recipe(epochs=6), split, split)
    logits = [student for student, *_ in recorder.calls]
    assert min((a - b).abs().max() for a, b in pairwise(logits)) > 0.01
    assert all(teacher is None for _, _, teacher, _ in recorder.calls)


def test_weights_of_the_best_epoch_are_returned():
    # The weight is 0.1 … 0.8. Brightness 0.25 and 0.35 are class 0, 0.65 and 0.75 are class 1.
    val = gray([64, 89, 166, 191], [0, 0, 1, 1])
    result = train_threshold(val, epochs=8)
    accuracies = [epoch.val_accuracy for epoch in result.history]
    assert accuracies == [0.5, 0.5, 0.75, 1.0, 1.0, 1.0, 0.75, 0.5]
    # The first of three equal epochs.
    assert result.best == result.history[3]
    assert result.model.state_dict()["backbone.weight"].item() == pytest.approx(0.4)
    assert compute_logits(result.model, val, CPU).argmax(1).tolist() == [0, 0, 1, 1]


def test_keep_last_returns_the_last_weights():
    result = train_threshold(gray([64, 89, 166, 191], [0, 0, 1, 1]), epochs=8, keep="last")
    assert result.best == result.history[-1]
    assert result.best.val_accuracy == 0.5
    assert result.model.state_dict()["backbone.weight"].item() == pytest.approx(0.8)


def test_learning_rate_follows_the_schedule():
    """The weight is lr times the sum of the cosine factors."""
    expected = 0.1 * sum((1 + math.cos(math.pi * step / 2)) / 2 for step in range(2))
    assert weight_after_one_epoch(schedule="cosine", batch_size=1) == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(2, 5, 6), (2, 6, 5), (2, 7, 6)])
def test_cached_logits_of_another_shape_raise(shape):
    split, teacher = labeled_by_index(6), CachedTeacher(np.zeros(shape, np.float32))
    expected = rf"\({shape[1]}, {shape[2]}\), .*\(6, 6\)"
    with pytest.raises(TrainingError, match=expected):
        run(
            classifier(FixedNet(6), 6), RecordingLoss(True), recipe(), split, split, teacher=teacher
        )


def test_missing_teacher_raises():
    split = labeled_by_index(6)
    with pytest.raises(TrainingError, match=r"KDLoss: .*teacher.*run cache_logits"):
        run(classifier(FixedNet(6), 6), KDLoss(), recipe(), split, split)


def test_progress_bar_and_epoch_callback():
    seen, epochs = [], []

    def track(items, description, total=None):
        for item in items:
            yield item
            seen.append((item, total))

    split = labeled_by_index(6)
    settings = recipe(epochs=2, batch_size=2)
    result = run(
        classifier(FixedNet(6), 6),
        RecordingLoss(),
        settings,
        split,
        split,
        env={"track": track, "on_epoch": epochs.append},
    )
    assert seen == [(step, 6) for step in range(6)]
    assert epochs == result.history


def test_early_stopping():
    val = gray([64, 89, 166, 191], [0, 0, 1, 1])
    # 0.5, 0.5, 0.75, 1.0, 1.0, 1.0, 0.75, 0.5: no epoch is better than the fourth.
    result = train_threshold(val, epochs=8, patience=3)
    assert [epoch.epoch for epoch in result.history] == [1, 2, 3, 4, 5, 6, 7]
    assert result.best.epoch == 4
    assert result.model.state_dict()["backbone.weight"].item() == pytest.approx(0.4)


def test_backbone_is_frozen_in_the_first_epochs():
    split = colored(16, seed=1)

    def changed_after(epochs, **changes):
        torch.manual_seed(0)
        model = build_classifier("test_efficientnet", ("red", "green", "blue"), SIZE)
        first = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        settings = recipe(epochs=epochs, keep="last", **changes)
        run(model, CrossEntropy(), settings, split, split)
        return {n for n, tensor in model.state_dict().items() if not torch.equal(first[n], tensor)}

    head = {"backbone.classifier.weight", "backbone.classifier.bias"}
    assert changed_after(2, freeze_epochs=2) == head
    assert changed_after(1, freeze_epochs=1, steps={"min": 12}) == head
    assert len(changed_after(2, freeze_epochs=1)) > 50
    assert changed_after(2, freeze_below=17) == head
    assert len(changed_after(2, freeze_below=16)) > 50


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ema_decay": 0.9, "patience": 2, "keep": "last"},
        {"batch_size": 1, "compile": True, "precision": "fp16"},
    ],
)
def test_without_epochs_the_weights_are_validated_and_unchanged(changes):
    split, val = colored(20, seed=1), colored(9, seed=2)
    model = small_net(3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    epochs = []
    result = run(
        model,
        CrossEntropy(),
        recipe(epochs=0, freeze_epochs=3, **changes),
        split,
        val,
        env={"on_epoch": epochs.append},
    )
    found = compute_logits(small_net(3), val, CPU).argmax(1)
    assert result.best.epoch == 0
    assert result.best.val_accuracy == pytest.approx((found == val.labels).mean())
    assert math.isnan(result.best.loss)
    assert result.history == epochs == [result.best]
    assert result.model is model
    assert not model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize("form", [True, "reduce-overhead"])
def test_compiled_model_gives_the_same_weights(form):
    split, val = colored(20, seed=1), colored(9, seed=2)
    plain, compiled = (
        run(small_net(3), CrossEntropy(), recipe(compile=value), split, val)
        for value in (False, form)
    )
    assert compiled.model.state_dict().keys() == plain.model.state_dict().keys()
    for name, tensor in plain.model.state_dict().items():
        found = compiled.model.state_dict()[name]
        torch.testing.assert_close(found, tensor, rtol=1e-3, atol=1e-4)


def history(*accuracies):
    return [Epoch(n, 1.0, {}, value, 1 - value, 0.5) for n, value in enumerate(accuracies, start=1)]


@pytest.mark.parametrize(("keep", "epoch"), [("best", 2), ("last", 4)])
def test_kept_epoch_is_the_first_best_or_the_last(keep, epoch):
    assert kept_epoch(history(0.1, 0.5, 0.5, 0.3), recipe(keep=keep)).epoch == epoch


@pytest.mark.parametrize(
    ("metric", "epoch"), [("accuracy", 2), ("balanced_accuracy", 3), ("macro_f1", 1)]
)
def test_keep_by_chooses_the_metric_of_the_best_epoch(metric, epoch):
    found = [
        Epoch(1, 1.0, {}, 0.5, 0.4, 0.6),
        Epoch(2, 1.0, {}, 0.7, 0.5, 0.4),
        Epoch(3, 1.0, {}, 0.6, 0.6, 0.5),
    ]
    settings = recipe(keep_by=metric, patience=2)
    assert kept_epoch(found, settings).epoch == epoch
    assert stops_early(found, settings) is (epoch == 1)


def test_epochs_have_the_metrics_of_a_validation_with_rare_classes():
    # Brightness 0.25 and 0.35 three times, 0.65 once: the weight 0.5 separates them.
    val = gray([64, 89, 89, 166], [0, 0, 0, 1])
    result = train_threshold(val, epochs=6, keep_by="balanced_accuracy")
    # All are class 1: recall 0 and 1, F1 0 and 2 / 5.
    first = result.history[0]
    assert (first.val_accuracy, first.val_balanced_accuracy) == (0.25, 0.5)
    assert first.val_macro_f1 == pytest.approx(0.2)
    assert result.best.val_balanced_accuracy == result.best.val_macro_f1 == 1.0
    assert result.best.epoch == 4


@pytest.mark.parametrize(
    ("accuracies", "patience", "expected"),
    [
        ((), 1, False),
        ((0.5,), 1, False),
        ((0.5, 0.4), 1, True),
        ((0.5, 0.4), 2, False),
        ((0.5, 0.4, 0.5), 2, True),  # equal is not better
        ((0.5, 0.4, 0.6), 2, False),
        ((0.5, 0.4, 0.3, 0.2), 0, False),
    ],
)
@pytest.mark.parametrize("keep", ["best", "last"])
def test_patience_counts_epochs_since_the_best(accuracies, patience, expected, keep):
    assert stops_early(history(*accuracies), recipe(patience=patience, keep=keep)) is expected
