from collections import Counter
from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.prepared import Split
from pipeline.errors import ParameterError, Stopped, TrainingError
from pipeline.losses import DISTLoss, FiGKDLoss, KDLoss, LogitMSELoss
from pipeline.params.student import distill_model
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.loop import train
from pipeline.training.task import TrainingEnvironment
from pipeline.training.teacher import CachedTeacher, LiveTeacher
from pipeline.training.unlabelled import UnlabelledImages, confident_images, open_unlabelled
from tests.pipeline.training.small_training import CLASSES, network, random_split, small_task
from tests.pipeline.training.small_training import recipe as small_recipe
from tests.pipeline.training.toy_models import (
    CPU,
    FixedNet,
    RecordingLoss,
    cached_teacher,
    classifier,
    labeled_by_index,
    recipe,
    run,
)
from tests.prepared_data import write_prepared, write_unlabelled

LABELLED, OTHERS = 11, 9


def others(ratio=1.0, used=None, seed=8):
    images = random_split(OTHERS, seed).images
    return UnlabelledImages(images, np.arange(OTHERS) if used is None else used, ratio)


def joined(split, unlabelled):
    """All images in the order of their numbers."""
    images = np.concatenate([split.images, unlabelled.images])
    return Split(images, np.zeros(len(images), np.int64))


@given(
    used=st.lists(st.integers(0, OTHERS - 1), min_size=1, unique=True),
    ratio=st.floats(0.05, 4),
    labelled=st.integers(1, 40),
    steps=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_image_is_drawn_equally_often(used, ratio, labelled, steps, seed):
    images = others(ratio, np.array(sorted(used)))
    counts = Counter(dict.fromkeys(used, 0))
    for epoch in range(4):
        batches = images.draw(labelled, steps, seed, epoch)
        sizes = [len(batch) for batch in batches]
        assert len(sizes) == steps
        assert sum(sizes) == round(ratio * labelled)
        assert max(sizes) - min(sizes) <= 1
        counts.update(chain.from_iterable(batch.tolist() for batch in batches))
    assert counts.keys() == set(used)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_the_order_of_the_images_depends_on_epoch_and_seed():
    orders = [
        np.concatenate(others().draw(OTHERS, 9, seed, epoch)).tolist()
        for seed in (0, 1)
        for epoch in (0, 1)
    ]
    assert len({tuple(order) for order in orders}) == 4


def test_the_confidence_is_the_mean_over_the_views():
    odds = np.log([[[9, 1], [9, 1], [1, 1]], [[9, 1], [1, 9], [1, 1]]])  # of 3 images in 2 views
    for threshold, expected in [(0.0, [0, 1, 2]), (0.51, [0]), (0.89, [0]), (0.91, [])]:
        assert confident_images(odds, threshold).tolist() == expected


@pytest.mark.parametrize("live", [False, True], ids=["cached", "live"])
def test_the_teacher_answers_the_same_pixels_as_the_student(live):
    """Teacher and student are the same function of the pixels, so their logits must be equal."""
    split, added = labeled_by_index(LABELLED), others(ratio=0.7)
    model, recorder = classifier(FixedNet(LABELLED), LABELLED), RecordingLoss(needs_teacher=True)
    with torch.no_grad():
        cached = cached_teacher(joined(split, added), 3, model)
    teacher = LiveTeacher(model) if live else cached
    settings = recipe(epochs=4, batch_size=4, accumulate=2)
    run(model, recorder, settings, split, split, teacher=teacher, unlabelled=added)
    assert sum(len(labels) for _, labels, _, _ in recorder.calls) == 4 * LABELLED
    assert sum(len(student) for student, *_ in recorder.calls) == 4 * (LABELLED + 8)
    for student, labels, teacher_logits, epoch in recorder.calls:
        torch.testing.assert_close(teacher_logits, student, rtol=0, atol=1e-4)
        if not live:
            known = cached.logits[int(epoch) % 3, labels.numpy()]
            np.testing.assert_array_equal(teacher_logits[: len(labels)].numpy(), known)


def test_images_without_labels_are_not_mixed():
    split, added = labeled_by_index(LABELLED), others()
    model, recorder = classifier(FixedNet(LABELLED), LABELLED), RecordingLoss(needs_teacher=True)
    settings = recipe(epochs=2, batch_size=4, mixup=1.0)
    teacher = LiveTeacher(model)
    run(model, recorder, settings, split, split, teacher=teacher, unlabelled=added)
    with torch.no_grad():
        plain = np.concatenate(cached_teacher(joined(split, added), 2, model).logits)

    def are_plain(logits):
        return [bool(np.isclose(row, plain, atol=1e-4).all(axis=1).any()) for row in logits.numpy()]

    for student, labels, *_ in recorder.calls:
        assert all(are_plain(student[len(labels) :]))
    assert not all(are_plain(torch.cat([s[: len(n)] for s, n, *_ in recorder.calls])))


@pytest.mark.parametrize(
    "loss",
    [FiGKDLoss(5), KDLoss(), DISTLoss(), LogitMSELoss()],
    ids=["figkd", "kd", "dist", "logit_mse"],
)
def test_labels_count_for_their_images_and_the_teacher_for_all(loss):
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 8, 5, generator=generator)
    labels = torch.randint(5, (3,), generator=generator)
    terms = loss.terms(student, teacher, labels)
    labelled = loss.terms(student[:3], teacher[:3], labels)
    every = loss.terms(student, teacher, torch.randint(5, (8,), generator=generator))
    assert terms.keys() == every.keys()
    assert terms.pop("cross_entropy") == labelled["cross_entropy"]
    assert all(term == every[name] for name, term in terms.items())


@pytest.mark.parametrize("changes", [{}, {"accumulate": 3}, {"mixup": 0.4}])
def test_resuming_after_every_step_gives_the_same_weights(tmp_path, changes):
    def start(seed=0, checkpoints=None, should_stop=lambda: False):
        logits = np.random.default_rng(3).normal(size=(3, 30 + OTHERS, CLASSES))
        teacher = LiveTeacher(network(seed=7).eval()) if changes.get("mixup") else None
        task = small_task(
            FiGKDLoss(CLASSES, redraw=True),
            small_recipe(epochs=2, **changes),
            teacher=teacher or CachedTeacher(logits.astype(np.float16)),
            unlabelled=others(ratio=0.6),
        )
        env = TrainingEnvironment(CPU, 5, checkpoints=checkpoints, should_stop=should_stop)
        return train(network(seed=seed), task, env)

    whole = start()
    for step in range(7):
        with pytest.raises(Stopped):
            start(step, Checkpoints(tmp_path, "key", 60), lambda: True)
    resumed = start(99, Checkpoints(tmp_path, "key", 60))
    assert resumed.history == whole.history
    theirs = whole.model.state_dict()
    assert all(torch.equal(t, theirs[n]) for n, t in resumed.model.state_dict().items())


def test_logits_for_the_training_images_alone_are_refused():
    teacher = CachedTeacher(np.zeros((1, 30, CLASSES), np.float16))
    task = small_task(KDLoss(), teacher=teacher, unlabelled=others())
    with pytest.raises(TrainingError, match=r"training needs \(39, 4\)"):
        train(network(), task, TrainingEnvironment(CPU, 0))


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (7, 16, 16, 3), dtype=np.uint8)
    plain = write_prepared(tmp_path / "data", ("a", "b"), {"train": (images[:4], [0, 1, 0, 1])})
    return write_unlabelled(plain, images[4:])


def student(method="kd", **options):
    values = {"epochs": 2, "batch_size": 4, "lr": 0.1, "weight_decay": 0.0}
    return distill_model()(method=method, unlabelled=options, **values)


# Probability of class a in both views; the first four images have labels.
ODDS = np.log([[0.5, 0.5, 0.5, 0.5, 0.95, 0.7, 0.2]])
LOGITS = np.stack([ODDS, np.log1p(-np.exp(ODDS))], axis=2).repeat(2, axis=0)


def test_images_of_which_the_teacher_is_not_confident_are_left_out(data):
    assert open_unlabelled(data, student(), LOGITS).used.tolist() == [0, 1, 2]
    chosen = open_unlabelled(data, student(min_confidence=0.75, ratio=2.0), LOGITS)
    assert chosen.used.tolist() == [0, 2]
    assert chosen.ratio == 2.0
    assert np.array_equal(chosen.images, data.unlabelled())
    with pytest.raises(ParameterError, match="leaves out all 3 images without labels"):
        open_unlabelled(data, student(min_confidence=0.96), LOGITS)
    with pytest.raises(ParameterError, match=r"cache_logits\.views is 0"):
        open_unlabelled(data, student(min_confidence=0.5), None)


@pytest.mark.parametrize("method", ["dkd", "cross_entropy"])
def test_a_loss_that_needs_labels_is_refused(data, method):
    with pytest.raises(ParameterError) as caught:
        open_unlabelled(data, student(method), LOGITS)
    message = str(caught.value)
    assert f"distill.method = {method}" in message
    assert "dist, figkd, kd, logit_mse, or distill.unlabelled.ratio to 0" in message
    unused = open_unlabelled(data, student(method, ratio=0.0), LOGITS)
    assert [batch.size for batch in unused.draw(8, 2, 0, 0)] == [0, 0]


@pytest.mark.parametrize("method", ["dist", "figkd", "kd", "logit_mse"])
def test_the_other_losses_take_images_without_labels(data, method):
    assert open_unlabelled(data, student(method), None).used.tolist() == [0, 1, 2]
