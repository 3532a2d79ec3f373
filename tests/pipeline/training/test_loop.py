import math
from itertools import chain, pairwise

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.data.prepared import Split
from pipeline.errors import TrainingError
from pipeline.losses import (
    CrossEntropy,
    DISTLoss,
    DKDLoss,
    FiGKDLoss,
    KDLoss,
    LogitMSELoss,
    Loss,
    Objective,
)
from pipeline.models.classifier import Classifier, Spec, build_classifier
from pipeline.params import DIST, DKD, KD, FiGKD, LogitMSE, Recipe, Views
from pipeline.training.judging import predict
from pipeline.training.loop import train
from pipeline.training.teacher import CachedTeacher
from pipeline.views import make_views, to_unit_range

CPU = torch.device("cpu")
SIZE = 16
VIEWS = Views(crop_scale=0.8)


def classifier(backbone, num_classes):
    names = tuple(f"class {c}" for c in range(num_classes))
    return Classifier(backbone, Spec("tiny", names, SIZE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)))


def small_net(num_classes, seed=0):
    torch.manual_seed(seed)
    return classifier(
        nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, num_classes),
        ),
        num_classes,
    )


def coloured(count, seed):
    """Noisy images whose label is their strongest colour."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    images = random.integers(0, 160, (count, SIZE, SIZE, 3), dtype=np.uint8)
    images[np.arange(count), :, :, labels] += 60
    return Split(images, labels)


def recipe(**changes):
    return Recipe(**{"epochs": 3, "batch_size": 8, "lr": 0.05, "weight_decay": 1e-4, **changes})


def run(model, objective, settings, train_split, val_split, views=VIEWS, **options):
    options = {"device": CPU, "seed": 0, **options}
    return train(model, objective, settings, train_split, val_split, views, **options)


def teacher_of(split, views, answer):
    """What ``answer`` says of the pixels of each view of each image."""
    ids = np.arange(len(split))
    logits = [answer(make_views(split.images, ids, k, VIEWS, CPU)).numpy() for k in range(views)]
    return CachedTeacher(np.stack(logits))


@pytest.mark.parametrize("optimizer", [{"lr": 0.05}, {"optimizer": "adamw", "lr": 0.01}])
def test_a_learnable_problem_is_learned(optimizer):
    model, val = small_net(3), coloured(30, seed=2)
    trained = run(model, CrossEntropy(), recipe(epochs=12, **optimizer), coloured(60, seed=1), val)
    assert not trained.model.training
    losses = [epoch.loss for epoch in trained.history]
    assert [epoch.epoch for epoch in trained.history] == list(range(1, 13))
    assert losses[-1] < 0.5 * losses[0]
    assert trained.best.val_accuracy > 0.9
    right = predict(trained.model, val, CPU).argmax(1) == val.labels
    assert right.mean() == trained.best.val_accuracy


@pytest.mark.parametrize(
    ("objective", "part"),
    [
        (FiGKDLoss(FiGKD(bands="all"), 3), "detail"),
        (KDLoss(KD(weight=1.0, label_weight=0.0)), "divergence"),
        (DKDLoss(DKD(warmup_epochs=2.0)), "target"),
        (DISTLoss(DIST()), "intra"),
        (LogitMSELoss(LogitMSE(weight=1.0)), "mse"),
    ],
    ids=["figkd", "kd", "dkd", "dist", "mse"],
)
def test_a_student_comes_nearer_to_its_teacher(objective, part):
    def strongest_colour(pixels):
        return 20 * (pixels.mean(dim=(2, 3)) - 0.4)

    split, val = coloured(60, seed=1), coloured(30, seed=2)
    trained = run(
        small_net(3),
        objective,
        recipe(epochs=10),
        split,
        val,
        teacher=teacher_of(split, 4, strongest_colour),
    )
    distances = [epoch.parts[part] for epoch in trained.history]
    assert distances[-1] < 0.5 * distances[0]


def weights_after(seed=0, **changes):
    split = coloured(20, seed=1)
    trained = run(
        small_net(3), CrossEntropy(), recipe(**changes), split, coloured(9, seed=2), seed=seed
    )
    return trained.model.state_dict()


@pytest.mark.parametrize("changes", [{}, {"optimizer": "adamw"}, {"ema_decay": 0.9}])
def test_two_runs_give_the_same_weights_to_the_bit(changes):
    first, second = weights_after(**changes), weights_after(**changes)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_another_seed_gives_other_weights():
    first, second = weights_after(seed=0), weights_after(seed=1)
    assert not torch.equal(first["backbone.0.weight"], second["backbone.0.weight"])


class Fixed(nn.Module):
    """Answers a fixed function of the pixels; its one parameter changes nothing."""

    def __init__(self, outputs):
        super().__init__()
        torch.manual_seed(5)
        self.register_buffer("weight", torch.randn(3 * SIZE * SIZE, outputs) / SIZE)
        self.idle = nn.Parameter(torch.zeros(()))

    def forward(self, pixels):
        return pixels.flatten(1) @ self.weight + 0 * self.idle


class Spy(Objective):
    """Keeps what every step was given."""

    def __init__(self, needs_teacher=False):
        super().__init__()
        self.needs_teacher = needs_teacher
        self.steps = []

    def forward(self, student, labels, teacher, epoch):
        self.steps.append((student.detach(), labels, teacher, epoch))
        loss = student.sum() * 0 + labels.float().mean()
        return Loss(loss, {"doubled": 2 * loss.detach()})


def numbered(count):
    """Images whose labels are their places, so that a spy can tell them."""
    random = np.random.default_rng(4)
    images = random.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)
    return Split(images, np.arange(count))


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
    # Only the right view agrees: another one says something else.
    assert np.abs(teacher.logits[0] - teacher.logits[1]).max(axis=1).min() > 0.01


def test_half_precision_answers_reach_the_objective_in_single_precision():
    split, spy = numbered(4), Spy(needs_teacher=True)
    teacher = CachedTeacher(np.full((1, 4, 4), 65504, np.float16))
    run(classifier(Fixed(4), 4), spy, recipe(epochs=1), split, split, teacher=teacher)
    answers = spy.steps[0][2]
    assert answers.dtype == torch.float32
    assert (answers == 65504).all()


@pytest.mark.parametrize(("images", "batch_size", "steps"), [(11, 4, 3), (9, 4, 3), (5, 8, 1)])
def test_every_image_is_seen_once_an_epoch(images, batch_size, steps):
    split, spy = numbered(images), Spy()
    history = run(
        classifier(Fixed(images), images),
        spy,
        recipe(epochs=3, batch_size=batch_size),
        split,
        split,
    ).history
    orders = []
    for epoch in range(3):
        batches = [labels.tolist() for _, labels, _, _ in spy.steps[epoch * steps :][:steps]]
        orders.append(batches)
        assert sorted(chain.from_iterable(batches)) == list(range(images))
        sizes = [len(batch) for batch in batches]
        assert max(sizes) - min(sizes) <= 1
    assert steps == 1 or orders[0] != orders[1]
    moments = [moment for _, _, _, moment in spy.steps]
    assert moments == pytest.approx([k / steps for k in range(3 * steps)])
    # The mean over images, though batches have different sizes.
    assert [done.loss for done in history] == pytest.approx([(images - 1) / 2] * 3)
    assert [done.parts["doubled"] for done in history] == pytest.approx([images - 1] * 3)


def test_without_a_teacher_every_epoch_shows_a_new_view():
    split, spy = numbered(4), Spy()
    run(classifier(Fixed(4), 4), spy, recipe(epochs=6), split, split)
    shown = [student for student, *_ in spy.steps]
    assert min((a - b).abs().max() for a, b in pairwise(shown)) > 0.01
    assert all(teacher is None for _, _, teacher, _ in spy.steps)


class Threshold(nn.Module):
    """Says class 0 of images darker than its one weight, and class 1 of the others."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, 1))

    def forward(self, pixels):
        darker = self.weight[0] - (pixels.mean(dim=(1, 2, 3)) * 0.25 + 0.5)
        return torch.stack([darker, torch.zeros_like(darker)], dim=1)


class Push(Objective):
    """Has a gradient of -1 with respect to the weight of ``Threshold``."""

    def forward(self, student, labels, teacher, epoch):
        return Loss(-student[:, 0].mean(), {})


def grey(values, labels):
    images = np.broadcast_to(
        np.array(values, np.uint8)[:, None, None, None], (len(values), SIZE, SIZE, 3)
    )
    return Split(np.array(images), np.array(labels))


def pushed(val, **changes):
    """One step an epoch moves the weight up by the learning rate, 0.1."""
    plain = {"lr": 0.1, "momentum": 0.0, "weight_decay": 0.0, "warmup": 0.0}
    settings = recipe(**{**plain, "schedule": "constant", "batch_size": 99, **changes})
    return run(classifier(Threshold(), 2), Push(), settings, grey([9, 9], [0, 0]), val)


def test_the_best_epoch_by_validation_is_what_is_returned():
    # Thresholds 0.1 … 0.8; brightness 0.25 and 0.35 are class 0, 0.65 and 0.75 are class 1.
    val = grey([64, 89, 166, 191], [0, 0, 1, 1])
    trained = pushed(val, epochs=8)
    accuracies = [done.val_accuracy for done in trained.history]
    assert accuracies == [0.5, 0.5, 0.75, 1.0, 1.0, 1.0, 0.75, 0.5]
    # The first of the three best.
    assert trained.best == trained.history[3]
    assert trained.model.state_dict()["backbone.weight"].item() == pytest.approx(0.4)
    assert predict(trained.model, val, CPU).argmax(1).tolist() == [0, 0, 1, 1]


def test_the_last_weights_are_kept_where_that_is_asked_for():
    trained = pushed(grey([64, 89, 166, 191], [0, 0, 1, 1]), epochs=8, keep="last")
    assert trained.best == trained.history[-1]
    assert trained.best.val_accuracy == 0.5
    assert trained.model.state_dict()["backbone.weight"].item() == pytest.approx(0.8)


def weight_after_one_epoch(**changes):
    trained = pushed(grey([255], [1]), epochs=1, **changes)
    return trained.model.state_dict()["backbone.weight"].item()


def test_averaged_weights_are_the_average_by_hand():
    """The average starts at the weights of the first step: 0.1, then 0.2, 0.3, …"""
    epochs, decay = 5, 0.7
    average, by_hand = 0.1, [0.1]
    for step in range(2, epochs + 1):
        average = decay * average + (1 - decay) * 0.1 * step
        by_hand.append(average)
    # Right once the threshold has passed 0.2: by the average in epoch 4, by the weight in epoch 3.
    val = grey([51], [0])
    trained = pushed(val, epochs=epochs, ema_decay=decay)
    assert [done.val_accuracy for done in trained.history] == [float(w > 0.2) for w in by_hand]
    best = trained.best.epoch - 1
    found = trained.model.state_dict()["backbone.weight"].item()
    assert found == pytest.approx(by_hand[best])


def test_averaging_averages_running_statistics_too():
    split = coloured(16, seed=1)
    settings = {"epochs": 1, "batch_size": 4}
    plain = run(small_net(3), CrossEntropy(), recipe(**settings), split, split).model.backbone[1]
    slow = recipe(**settings, ema_decay=0.99)
    averaged = run(small_net(3), CrossEntropy(), slow, split, split).model.backbone[1]
    assert averaged.num_batches_tracked.dtype == torch.int64
    # 99 % of the statistics are those of the first of four steps.
    assert averaged.running_mean.norm() < 0.6 * plain.running_mean.norm()


def test_the_rate_follows_the_schedule():
    """The pushes add up to lr times the sum of the cosine."""
    moved = 0.1 * sum((1 + math.cos(math.pi * step / 2)) / 2 for step in range(2))
    assert weight_after_one_epoch(schedule="cosine", batch_size=1) == pytest.approx(moved)


def test_gradients_are_clipped():
    assert weight_after_one_epoch(clip_norm=0.25) == pytest.approx(0.025, rel=1e-4)
    assert weight_after_one_epoch(clip_norm=4.0) == pytest.approx(0.1)


class NanAt(Objective):
    def __init__(self, step):
        super().__init__()
        self.left = step

    def forward(self, student, labels, teacher, epoch):
        self.left -= 1
        return Loss(student.mean() * (1.0 if self.left else float("nan")), {})


def test_a_loss_that_is_not_finite_stops_training_and_says_where():
    split = numbered(6)
    said = (
        r"epoch 2, step 5 \(batch 2 of 3\): the loss is nan, though all logits are finite; images"
    )
    with pytest.raises(TrainingError, match=said):
        run(classifier(Fixed(6), 6), NanAt(5), recipe(batch_size=2), split, split)


class Brittle(nn.Module):
    """Answers 0, but not a number to the white images once it was asked often enough."""

    def __init__(self, outputs, answers=0):
        super().__init__()
        self.idle = nn.Parameter(torch.zeros(outputs))
        self.left = answers

    def forward(self, pixels):
        self.left -= 1
        white = pixels.mean(dim=(1, 2, 3), keepdim=False) > 1.9
        bad = torch.where(white, torch.nan if self.left < 0 else 0.0, 0.0)
        return self.idle + bad[:, None]


def spotted(whites, count=6):
    """Black images, some white; their labels are their places."""
    images = np.zeros((count, SIZE, SIZE, 3), np.uint8)
    images[whites] = 255
    return Split(images, np.arange(count))


PLAIN = Views(crop_scale=1.0, crop_ratio=1.0, brightness=0.0, contrast=0.0)


def seen_in(split, step, batch_size):
    """The images of a step, in the order in which an objective gets their labels."""
    spy = Spy()
    settings = recipe(batch_size=batch_size)
    run(classifier(Fixed(len(split)), len(split)), spy, settings, split, split)
    return [labels.tolist() for _, labels, _, _ in spy.steps][step]


def test_a_student_that_goes_bad_is_named_with_step_and_images():
    split = spotted([1, 4])
    answers = CachedTeacher(np.zeros((2, 6, 6), np.float32))
    # Three batches in the first epoch, then one of validation images, then the fifth answer.
    model = classifier(Brittle(6, answers=4), 6)
    with pytest.raises(TrainingError) as caught:
        run(model, KDLoss(KD()), recipe(batch_size=2), split, spotted([]), PLAIN, teacher=answers)
    step = next(s for s in (3, 4, 5) if {1, 4} & set(seen_in(split, s, 2)))
    bad = ", ".join(str(i) for i in seen_in(split, step, 2) if i in (1, 4))
    assert str(caught.value).startswith(
        f"epoch 2, step {step + 1} (batch {step - 2} of 3): the loss is nan: the student's logits "
        f"on view 1 of images {bad} are not finite; lower the learning rate"
    )


@pytest.mark.parametrize("student", [Fixed, Brittle])
def test_a_teacher_that_goes_bad_is_named_even_if_the_student_does_too(student):
    split = spotted([1, 4])
    logits = np.zeros((2, 6, 6), np.float32)
    logits[0, 3, 2] = np.nan
    with pytest.raises(TrainingError) as caught:
        run(
            classifier(student(6), 6),
            KDLoss(KD()),
            recipe(batch_size=6),
            split,
            spotted([]),
            PLAIN,
            teacher=CachedTeacher(logits),
        )
    assert str(caught.value) == (
        "epoch 1, step 1 (batch 1 of 1): the loss is nan: the teacher's logits on view 0 of images "
        "3 are not finite; run cache_logits again"
    )


def test_without_a_teacher_the_network_in_training_is_no_student():
    with pytest.raises(TrainingError, match="the network's logits on view 0 of images 1, 4 are"):
        run(
            classifier(Brittle(6), 6),
            CrossEntropy(),
            recipe(batch_size=6),
            spotted([1, 4]),
            spotted([]),
            PLAIN,
        )


def test_a_long_list_of_images_is_cut():
    split = spotted(list(range(20)), count=20)
    with pytest.raises(TrainingError, match=r"images 0, 1, 2, 3, 4, 5, 6, 7 and 12 more are not"):
        run(classifier(Brittle(20), 20), CrossEntropy(), recipe(batch_size=20), split, split, PLAIN)


def test_weights_spoilt_by_the_last_step_are_not_returned():
    """Nothing is trained on them any more, so only the validation images can tell."""
    model = classifier(Brittle(6, answers=1), 6)
    with pytest.raises(TrainingError, match=r"epoch 1, after its last step: .* validation images"):
        settings = recipe(epochs=1, batch_size=6)
        run(model, CrossEntropy(), settings, spotted([]), spotted([2]), PLAIN)


@pytest.mark.parametrize("shape", [(2, 5, 6), (2, 6, 5), (2, 7, 6)])
def test_answers_for_other_images_or_classes_are_refused(shape):
    split, teacher = numbered(6), CachedTeacher(np.zeros(shape, np.float32))
    expected = rf"\({shape[1]}, {shape[2]}\), training has \(6, 6\)"
    with pytest.raises(TrainingError, match=expected):
        run(classifier(Fixed(6), 6), Spy(True), recipe(), split, split, teacher=teacher)


def test_an_objective_that_needs_a_teacher_gets_one():
    split = numbered(6)
    with pytest.raises(TrainingError, match="KDLoss: needs the teacher's logits; run cache_logits"):
        run(classifier(Fixed(6), 6), KDLoss(KD()), recipe(), split, split)


def test_progress_tells_every_step_and_every_epoch():
    seen, epochs = [], []

    def track(items, description, total=None):
        for item in items:
            yield item
            seen.append((item, total))

    split = numbered(6)
    settings = recipe(epochs=2, batch_size=2)
    trained = run(
        classifier(Fixed(6), 6), Spy(), settings, split, split, track=track, on_epoch=epochs.append
    )
    assert seen == [(step, 6) for step in range(6)]
    assert epochs == trained.history


def test_predictions_do_not_depend_on_the_batch_size():
    split, model = coloured(13, seed=1), small_net(3).train()
    found = predict(model, split, CPU, batch_size=4)
    assert found.shape == (13, 3)
    assert found.dtype == np.float32
    with torch.inference_mode():
        expected = model.eval()(to_unit_range(split.images, CPU)).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_only_the_images_at_the_places_are_shown():
    split, spy = numbered(11), Spy()
    places = np.array([1, 4, 5, 9, 10])
    run(
        classifier(Fixed(11), 11),
        spy,
        recipe(epochs=2, batch_size=2),
        split,
        coloured(4, seed=2),
        places=places,
    )
    shown = torch.cat([labels for _, labels, _, _ in spy.steps]).tolist()
    assert len(spy.steps) == 2 * 3
    assert sorted(shown[:5]) == sorted(shown[5:]) == places.tolist()


def test_an_image_at_a_place_has_the_views_and_answers_it_has_among_all():
    split, model, spy = numbered(11), classifier(Fixed(11), 11), Spy(needs_teacher=True)
    with torch.no_grad():
        teacher = teacher_of(split, 2, model)
    places = np.array([2, 3, 7])
    run(model, spy, recipe(epochs=2), split, split, teacher=teacher, places=places)
    for student, _, answers, _ in spy.steps:
        torch.testing.assert_close(student, answers, rtol=0, atol=1e-4)


def test_packed_views_train_the_same_weights_as_the_same_views_made_again():
    split, val = coloured(20, seed=1), coloured(9, seed=2)
    ids = np.arange(len(split))
    plain = Views(crop_scale=1.0, crop_ratio=1.0, horizontal_flip=True, brightness=0, contrast=0)
    # Without resampling or colour a view's pixels are whole numbers, so packing rounds nothing.
    views = [make_views(split.images, ids, k, plain, CPU) for k in range(2)]
    pixels = np.stack([(255 * v).round().to(torch.uint8).permute(0, 2, 3, 1) for v in views])
    logits = np.zeros((2, len(split), 3), np.float32)
    after = [
        run(
            small_net(3),
            LogitMSELoss(LogitMSE()),
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


def test_training_ends_early_where_patience_has_run_out():
    val = grey([64, 89, 166, 191], [0, 0, 1, 1])
    # 0.5, 0.5, 0.75, 1.0, 1.0, 1.0, 0.75, 0.5: no epoch is better than the fourth.
    trained = pushed(val, epochs=8, patience=3)
    assert [done.epoch for done in trained.history] == [1, 2, 3, 4, 5, 6, 7]
    assert trained.best.epoch == 4
    assert trained.model.state_dict()["backbone.weight"].item() == pytest.approx(0.4)


def linear():
    torch.manual_seed(0)
    return classifier(nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 3)), 3)


@pytest.mark.parametrize("parts", [2, 3, 8])
def test_a_step_in_parts_is_the_step_of_the_whole_batch(parts):
    """Where no layer and no loss looks at the whole batch; 20 images make parts of many sizes."""
    split, val = coloured(20, seed=1), coloured(9, seed=2)
    whole, in_parts = (
        run(linear(), CrossEntropy(), recipe(clip_norm=0.5, accumulate=accumulate), split, val)
        for accumulate in (1, parts)
    )
    for name, tensor in whole.model.state_dict().items():
        torch.testing.assert_close(in_parts.model.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)
    losses = [done.loss for done in whole.history]
    assert [done.loss for done in in_parts.history] == pytest.approx(losses, rel=1e-4)


class Types(nn.Module):
    """Keeps the type that its layer answers in."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3 * SIZE * SIZE, 3)
        self.seen = set()

    def forward(self, pixels):
        said = self.layer(pixels.flatten(1))
        self.seen.add((self.training, said.dtype))
        return said


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        ("auto", torch.float32),
        ("fp32", torch.float32),
        ("bf16", torch.bfloat16),
        ("fp16", torch.float16),
    ],
)
def test_the_network_learns_in_the_precision_asked_for_and_is_judged_in_single(precision, dtype):
    torch.manual_seed(0)
    model, spy = classifier(Types(), 3), Spy()
    split, val = coloured(60, seed=1), coloured(30, seed=2)
    run(model, spy, recipe(epochs=1, precision=precision), split, val)
    assert model.backbone.seen == {(True, dtype), (False, torch.float32)}
    assert {student.dtype for student, *_ in spy.steps} == {torch.float32}
    trained = run(model, CrossEntropy(), recipe(epochs=8, precision=precision), split, val)
    assert trained.best.val_accuracy > 0.8
    assert model.backbone.layer.weight.dtype == torch.float32


class Hungry(Objective):
    def forward(self, student, labels, teacher, epoch):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has …")


def test_a_lack_of_memory_names_the_parameters_to_change():
    split, settings = numbered(6), recipe(batch_size=6, accumulate=2)
    with pytest.raises(TrainingError) as caught:
        run(classifier(Fixed(6), 6), Hungry(), settings, split, split)
    assert str(caught.value) == (
        "recipe.batch_size = 6: a step does not fit into the memory of cpu (CUDA out of memory); "
        "lower it, or raise recipe.accumulate = 2"
    )


def test_the_backbone_rests_while_only_the_classifier_layer_learns():
    split = coloured(16, seed=1)

    def weights_after(epochs, frozen):
        torch.manual_seed(0)
        model = build_classifier("test_efficientnet", ("red", "green", "blue"), SIZE)
        first = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        settings = recipe(epochs=epochs, keep="last")
        run(model, CrossEntropy(), settings, split, split, freeze_epochs=frozen)
        return {n for n, tensor in model.state_dict().items() if not torch.equal(first[n], tensor)}

    assert weights_after(2, frozen=2) == {"backbone.classifier.weight", "backbone.classifier.bias"}
    assert len(weights_after(2, frozen=1)) > 50


@pytest.mark.slow
def test_a_compiled_network_learns_the_same():
    split, val = coloured(20, seed=1), coloured(9, seed=2)
    plain, compiled = (
        run(small_net(3), CrossEntropy(), recipe(compile=asked), split, val)
        for asked in (False, True)
    )
    assert compiled.model.state_dict().keys() == plain.model.state_dict().keys()
    for name, tensor in plain.model.state_dict().items():
        found = compiled.model.state_dict()[name]
        torch.testing.assert_close(found, tensor, rtol=1e-3, atol=1e-4)
