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
from tests.pipeline.training.stand_ins import (
    CPU,
    SIZE,
    Fixed,
    Spy,
    classifier,
    colored,
    gray,
    numbered,
    pushed,
    recipe,
    run,
    small_net,
    teacher_of,
    weight_after_one_epoch,
)


def test_teacher_and_student_answer_the_same_pixels():
    """The teacher's logits are the student's own function of the views, so they must agree."""
    split, model, spy = numbered(11), classifier(Fixed(11), 11), Spy(needs_teacher=True)
    with torch.no_grad():
        teacher = teacher_of(split, 3, model)
    run(model, spy, recipe(epochs=5, batch_size=4), split, split, teacher=teacher)
    assert len(spy.steps) == 5 * 3
    for student, labels, answers, epoch in spy.steps:
        torch.testing.assert_close(answers, student, rtol=0, atol=1e-4)
        view = int(epoch) % 3
        np.testing.assert_array_equal(answers.numpy(), teacher.logits[view, labels.numpy()])
    # Another view has other logits.
    assert np.abs(teacher.logits[0] - teacher.logits[1]).max(axis=1).min() > 0.01


def test_half_precision_answers_reach_the_loss_in_single_precision():
    split, spy = numbered(4), Spy(needs_teacher=True)
    teacher = CachedTeacher(np.full((1, 4, 4), 65504, np.float16))
    run(classifier(Fixed(4), 4), spy, recipe(epochs=1), split, split, teacher=teacher)
    answers = spy.steps[0][2]
    assert answers.dtype == torch.float32
    assert (answers == 65504).all()


def test_averaged_weights_are_the_average_by_hand():
    """The average starts at the weights of the first step: 0.1, then 0.2, 0.3, …"""
    epochs, decay = 5, 0.7
    average, by_hand = 0.1, [0.1]
    for step in range(2, epochs + 1):
        average = decay * average + (1 - decay) * 0.1 * step
        by_hand.append(average)
    # Right once the threshold has passed 0.2: by the average in epoch 4, by the weight in epoch 3.
    val = gray([51], [0])
    result = pushed(val, epochs=epochs, ema_decay=decay)
    assert [done.val_accuracy for done in result.history] == [float(w > 0.2) for w in by_hand]
    best = result.best.epoch - 1
    found = result.model.state_dict()["backbone.weight"].item()
    assert found == pytest.approx(by_hand[best])


def test_averaging_averages_running_statistics_too():
    split = colored(16, seed=1)
    settings = {"epochs": 1, "batch_size": 4}
    plain = run(small_net(3), CrossEntropy(), recipe(**settings), split, split).model.backbone[1]
    slow = recipe(**settings, ema_decay=0.99)
    averaged = run(small_net(3), CrossEntropy(), slow, split, split).model.backbone[1]
    assert averaged.num_batches_tracked.dtype == torch.int64
    # 99 % of the statistics are those of the first of four steps.
    assert averaged.running_mean.norm() < 0.6 * plain.running_mean.norm()


def test_gradients_are_clipped():
    assert weight_after_one_epoch(clip_norm=0.25) == pytest.approx(0.025, rel=1e-4)
    assert weight_after_one_epoch(clip_norm=4.0) == pytest.approx(0.1)


def test_only_the_images_at_the_indices_are_shown():
    split, spy = numbered(11), Spy()
    indices = np.array([1, 4, 5, 9, 10])
    run(
        classifier(Fixed(11), 11),
        spy,
        recipe(epochs=2, batch_size=2),
        split,
        colored(4, seed=2),
        indices=indices,
    )
    shown = torch.cat([labels for _, labels, _, _ in spy.steps]).tolist()
    assert len(spy.steps) == 2 * 3
    assert sorted(shown[:5]) == sorted(shown[5:]) == indices.tolist()


def test_an_image_at_a_place_has_the_views_and_answers_it_has_among_all():
    split, model, spy = numbered(11), classifier(Fixed(11), 11), Spy(needs_teacher=True)
    with torch.no_grad():
        teacher = teacher_of(split, 2, model)
    indices = np.array([2, 3, 7])
    run(model, spy, recipe(epochs=2), split, split, teacher=teacher, indices=indices)
    for student, _, answers, _ in spy.steps:
        torch.testing.assert_close(student, answers, rtol=0, atol=1e-4)


def test_packed_views_train_the_same_weights_as_the_same_views_made_again():
    split, val = colored(20, seed=1), colored(9, seed=2)
    ids = np.arange(len(split))
    plain = Views(crop_scale=1.0, crop_ratio=1.0, horizontal_flip=True, brightness=0, contrast=0)
    # Without resampling or colour a view's pixels are whole numbers, so packing rounds nothing.
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


@pytest.mark.parametrize("parts", [2, 3, 8])
def test_a_step_in_parts_is_the_step_of_the_whole_batch(parts):
    """Where no layer and no loss looks at the whole batch; 20 images make parts of many sizes."""
    split, val = colored(20, seed=1), colored(9, seed=2)
    whole, in_parts = (
        run(linear(), CrossEntropy(), recipe(clip_norm=0.5, accumulate=accumulate), split, val)
        for accumulate in (1, parts)
    )
    for name, tensor in whole.model.state_dict().items():
        torch.testing.assert_close(in_parts.model.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)
    losses = [done.loss for done in whole.history]
    assert [done.loss for done in in_parts.history] == pytest.approx(losses, rel=1e-4)


class Types(nn.Module):
    """Records the dtype of its logits."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3 * SIZE * SIZE, 3)
        self.seen = set()

    def forward(self, pixels):
        logits = self.layer(pixels.flatten(1))
        self.seen.add((self.training, logits.dtype))
        return logits


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        ("auto", torch.float32),
        ("fp32", torch.float32),
        ("bf16", torch.bfloat16),
        ("fp16", torch.float16),
    ],
)
def test_training_uses_the_precision_and_validation_fp32(precision, dtype):
    torch.manual_seed(0)
    model, spy = classifier(Types(), 3), Spy()
    split, val = colored(60, seed=1), colored(30, seed=2)
    run(model, spy, recipe(epochs=1, precision=precision), split, val)
    assert model.backbone.seen == {(True, dtype), (False, torch.float32)}
    assert {student.dtype for student, *_ in spy.steps} == {torch.float32}
    result = run(model, CrossEntropy(), recipe(epochs=8, precision=precision), split, val)
    assert result.best.val_accuracy > 0.8
    assert model.backbone.layer.weight.dtype == torch.float32
