import numpy as np
import pytest
import torch
from torch import nn

from pipeline.losses import (
    CrossEntropy,
    LogitMSELoss,
)
from pipeline.params import Views
from pipeline.training.teacher import CachedTeacher
from pipeline.views import make_views
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
)


def test_teacher_and_student_use_the_same_pixels():
    """Teacher and student are the same function of the pixels, so their logits must be equal."""
    split, model, recorder = (
        labeled_by_index(11),
        classifier(FixedNet(11), 11),
        RecordingLoss(needs_teacher=True),
    )
    with torch.no_grad():
        teacher = cached_teacher(split, 3, model)
    run(model, recorder, recipe(epochs=5, batch_size=4), split, split, teacher=teacher)
    assert len(recorder.calls) == 5 * 3
    for student, labels, teacher_logits, epoch in recorder.calls:
        torch.testing.assert_close(teacher_logits, student, rtol=0, atol=1e-4)
        view = int(epoch) % 3
        np.testing.assert_array_equal(teacher_logits.numpy(), teacher.logits[view, labels.numpy()])
    # Different views have different logits.
    assert np.abs(teacher.logits[0] - teacher.logits[1]).max(axis=1).min() > 0.01


def test_float16_cached_logits_are_converted_to_float32():
    split, recorder = labeled_by_index(4), RecordingLoss(needs_teacher=True)
    teacher = CachedTeacher(np.full((1, 4, 4), 65504, np.float16))
    run(classifier(FixedNet(4), 4), recorder, recipe(epochs=1), split, split, teacher=teacher)
    logits = recorder.calls[0][2]
    assert logits.dtype == torch.float32
    assert (logits == 65504).all()


def test_ema_equals_a_manual_average():
    """The average starts with the weight after the first step. The weights are 0.1, 0.2, 0.3, …"""
    epochs, decay = 5, 0.7
    average, expected = 0.1, [0.1]
    for step in range(2, epochs + 1):
        average = decay * average + (1 - decay) * 0.1 * step
        expected.append(average)
    # Correct as soon as the weight exceeds 0.2: epoch 4 with averaging, epoch 3 without.
    val = gray([51], [0])
    result = train_threshold(val, epochs=epochs, ema_decay=decay)
    assert [epoch.val_accuracy for epoch in result.history] == [float(w > 0.2) for w in expected]
    best = result.best.epoch - 1
    found = result.model.state_dict()["backbone.weight"].item()
    assert found == pytest.approx(expected[best])


def test_ema_includes_running_statistics():
    split = colored(16, seed=1)
    settings = {"epochs": 1, "batch_size": 4}
    plain = run(small_net(3), CrossEntropy(), recipe(**settings), split, split).model.backbone[1]
    slow = recipe(**settings, ema_decay=0.99)
    averaged = run(small_net(3), CrossEntropy(), slow, split, split).model.backbone[1]
    assert averaged.num_batches_tracked.dtype == torch.int64
    # 99 % of the averaged statistics come from the first of four steps.
    assert averaged.running_mean.norm() < 0.6 * plain.running_mean.norm()


def test_gradients_are_clipped():
    assert weight_after_one_epoch(clip_norm=0.25) == pytest.approx(0.025, rel=1e-4)
    assert weight_after_one_epoch(clip_norm=4.0) == pytest.approx(0.1)


def test_only_images_at_the_indices_are_used():
    split, recorder = labeled_by_index(11), RecordingLoss()
    indices = np.array([1, 4, 5, 9, 10])
    run(
        classifier(FixedNet(11), 11),
        recorder,
        recipe(epochs=2, batch_size=2),
        split,
        colored(4, seed=2),
        indices=indices,
    )
    labels = torch.cat([labels for _, labels, _, _ in recorder.calls]).tolist()
    assert len(recorder.calls) == 2 * 3
    assert sorted(labels[:5]) == sorted(labels[5:]) == indices.tolist()


def test_indices_do_not_change_views_and_teacher_logits():
    split, model, recorder = (
        labeled_by_index(11),
        classifier(FixedNet(11), 11),
        RecordingLoss(needs_teacher=True),
    )
    with torch.no_grad():
        teacher = cached_teacher(split, 2, model)
    indices = np.array([2, 3, 7])
    run(model, recorder, recipe(epochs=2), split, split, teacher=teacher, indices=indices)
    for student, _, teacher_logits, _ in recorder.calls:
        torch.testing.assert_close(student, teacher_logits, rtol=0, atol=1e-4)


def test_packed_views_give_the_same_weights():
    split, val = colored(20, seed=1), colored(9, seed=2)
    ids = np.arange(len(split))
    plain = Views(crop_scale=1.0, crop_ratio=1.0, horizontal_flip=True, brightness=0, contrast=0)
    # Without resampling and color changes, pixels are integers, so packing does not round them.
    views = [make_views(split.images, ids, k, plain, CPU) for k in range(2)]
    pixels = np.stack([(255 * v).round().to(torch.uint8).permute(0, 2, 3, 1) for v in views])
    logits = np.zeros((2, len(split), 3), np.float32)
    after = [
        run(
            small_net(3),
            LogitMSELoss(),
            recipe(),
            split,
            val,
            plain,
            teacher=CachedTeacher(logits, packed),
        ).model.state_dict()
        for packed in (None, pixels)
    ]
    for name, tensor in after[0].items():
        torch.testing.assert_close(tensor, after[1][name], rtol=1e-4, atol=1e-5)


def linear():
    torch.manual_seed(0)
    return classifier(nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 3)), 3)


@pytest.mark.parametrize("accumulate", [2, 3, 8])
def test_gradient_accumulation_equals_the_full_batch(accumulate):
    """Holds without batch norm; 20 images give micro-batches of different sizes."""
    split, val = colored(20, seed=1), colored(9, seed=2)
    full, accumulated = (
        run(linear(), CrossEntropy(), recipe(clip_norm=0.5, accumulate=count), split, val)
        for count in (1, accumulate)
    )
    for name, tensor in full.model.state_dict().items():
        torch.testing.assert_close(
            accumulated.model.state_dict()[name], tensor, rtol=1e-4, atol=1e-5
        )
    losses = [epoch.loss for epoch in full.history]
    assert [epoch.loss for epoch in accumulated.history] == pytest.approx(losses, rel=1e-4)


class DtypeNet(nn.Module):
    """Records mode and dtype of its logits."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3 * SIZE * SIZE, 3)
        self.seen = set()

    def forward(self, pixels):
        logits = self.layer(pixels.flatten(1))
        self.seen.add((self.training, logits.dtype))
        return logits


@pytest.mark.parametrize(
    ("precision", "amx", "dtype"),
    [
        ("auto", False, torch.float32),
        ("auto", True, torch.bfloat16),
        ("fp32", True, torch.float32),
        ("bf16", False, torch.bfloat16),
        ("fp16", False, torch.float16),
    ],
)
def test_precision_of_training_and_validation(monkeypatch, precision, amx, dtype):
    monkeypatch.setattr("pipeline.training.precision.has_amx", lambda: amx)
    torch.manual_seed(0)
    model, recorder = classifier(DtypeNet(), 3), RecordingLoss()
    split, val = colored(60, seed=1), colored(30, seed=2)
    remarks = []
    env = {"on_remark": remarks.append}
    run(model, recorder, recipe(epochs=1, precision=precision), split, val, env=env)
    assert any("bf16" in remark for remark in remarks) == (precision == "auto" and amx)
    assert model.backbone.seen == {(True, dtype), (False, torch.float32)}
    assert {student.dtype for student, *_ in recorder.calls} == {torch.float32}
    result = run(model, CrossEntropy(), recipe(epochs=8, precision=precision), split, val)
    assert result.best.val_accuracy > 0.8
    assert model.backbone.layer.weight.dtype == torch.float32
