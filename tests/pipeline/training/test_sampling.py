"""Class-balanced sampling: frequencies of the classes, passes over their images, views."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.training.sampling import ClassSampler
from pipeline.training.teacher import CachedTeacher
from pipeline.views import make_views
from tests.pipeline.training.toy_models import (
    CPU,
    VIEWS,
    FixedNet,
    RecordingLoss,
    classifier,
    labeled_by_index,
    recipe,
    run,
)

LABELS = np.repeat([0, 1, 2], [90, 9, 1])


def sampler(sampling, labels=LABELS, classes=3):
    return ClassSampler(labels, np.arange(len(labels)), classes, sampling)


def test_natural_sampling_draws_every_image_once():
    assert sampler("natural").draw(seed=0, epoch=3).tolist() == list(range(100))


@pytest.mark.parametrize(
    ("sampling", "expected"),
    # √90 : √9 : √1 = 9.49 : 3 : 1
    [("balanced", [33, 34, 33]), ("square_root", [70, 23, 7])],
)
def test_the_draws_of_the_classes(sampling, expected):
    drawn = LABELS[sampler(sampling).draw(seed=0, epoch=0)]
    assert np.bincount(drawn).tolist() == expected


@given(
    counts=st.lists(st.integers(0, 60), min_size=2, max_size=9).filter(sum),
    sampling=st.sampled_from(["natural", "square_root", "balanced"]),
    seed=st.integers(0, 9),
)
def test_laws_of_every_sampling(counts, sampling, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    found = sampler(sampling, labels, len(counts))
    drawn = [found.draw(seed, epoch) for epoch in range(4)]
    fractions = found.weights / found.weights.sum()
    totals = Counter(np.concatenate(drawn).tolist())
    for label, count in enumerate(counts):
        expected = fractions[label] * len(labels)
        per_epoch = [int((labels[images] == label).sum()) for images in drawn]
        # The length of an epoch is the number of images, and each class has its fraction of it.
        assert max(per_epoch) == min(per_epoch) == pytest.approx(expected, abs=1)
        assert (per_epoch[0] > 0) == (count > 0)
        # Over the epochs, no image of a class is drawn more than once more than another one.
        times = [totals[image] for image in np.flatnonzero(labels == label)]
        assert not times or max(times) - min(times) <= 1
    assert {len(images) for images in drawn} == {len(labels)}


def test_draws_are_a_function_of_seed_and_epoch():
    def draw(seed, epoch):
        return sampler("balanced").draw(seed, epoch).tolist()

    assert draw(1, 2) == draw(1, 2)
    assert len({str(draw(*key)) for key in ((1, 2), (1, 3), (2, 2))}) == 3


def test_only_the_given_images_are_drawn():
    indices = np.array([0, 5, 89, 93, 94])
    found = ClassSampler(LABELS, indices, 3, "balanced")
    assert found.weights.tolist() == [1, 1, 0]
    assert set(found.draw(0, 0).tolist()) <= set(indices.tolist())
    assert len(found) == 5


def test_repeated_images_have_other_views_with_the_matching_logits():
    split, recorder = labeled_by_index(8), RecordingLoss(needs_teacher=True)
    split.labels[:] = [0, 0, 0, 0, 0, 0, 0, 1]
    model, views = classifier(FixedNet(2), 2), 5
    with torch.no_grad():
        logits = [
            model(make_views(split.images, np.arange(8), k, VIEWS, CPU)) for k in range(views)
        ]
    teacher = CachedTeacher(torch.stack(logits).numpy())
    settings = recipe(epochs=5, batch_size=2, sampling="balanced")
    run(model, recorder, settings, split, split, teacher=teacher)
    rare = []
    for student, labels, cached, _ in recorder.calls:
        torch.testing.assert_close(cached, student, rtol=0, atol=1e-4)
        rare += cached[labels == 1].tolist()
    assert len(recorder.calls) == 5 * 4
    assert len(rare) == 5 * 4
    assert len({tuple(row) for row in rare}) == views


def test_adjustment_of_balanced_classes_is_refused():
    with pytest.raises(ValidationError, match=r"logit_adjustment = 0\.5 has no effect with"):
        recipe(sampling="balanced", logit_adjustment=0.5)
    recipe(sampling="square_root", logit_adjustment=0.5)
