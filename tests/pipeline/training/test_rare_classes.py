"""Training on a split whose classes have different numbers of images."""

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.losses import CrossEntropy
from pipeline.losses.logit_adjustment import label_offsets
from pipeline.training.validation import compute_logits
from tests.pipeline.training.toy_models import (
    CPU,
    FixedNet,
    RecordingLoss,
    classifier,
    gray,
    labeled_by_index,
    recipe,
    run,
)


class Brightness(nn.Module):
    """Logistic regression on the mean of the pixels."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(1, 2)

    def forward(self, pixels):
        return self.layer(pixels.mean(dim=(1, 2, 3))[:, None])


def overlapping(seed, dark, bright):
    """Dark and bright gray images, whose brightnesses overlap."""
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.normal(110, 25, dark), rng.normal(150, 25, bright)])
    return gray(values.clip(0, 255).astype(np.uint8), [0] * dark + [1] * bright)


def recalls(seed, **changes):
    """Recall of the frequent and of the rare class after training on 1 to 9."""
    settings = recipe(epochs=6, batch_size=16, lr=0.2, keep="last", **changes)
    model, val = classifier(Brightness(), 2), overlapping(99, 200, 200)
    run(model, CrossEntropy(), settings, overlapping(seed, 180, 20), val, seed=seed)
    right = compute_logits(model, val, CPU).argmax(1) == val.labels
    return np.array([right[:200].mean(), right[200:].mean()])


@pytest.mark.parametrize(
    "changes",
    [
        {"logit_adjustment": 1.0},
        {"sampling": "balanced"},
        {"sampling": "square_root", "logit_adjustment": 1.0},
    ],
)
def test_the_recall_of_a_rare_class_rises(changes):
    plain, changed = (
        np.mean([recalls(seed, **options) for seed in range(3)], axis=0)
        for options in ({}, changes)
    )
    assert changed[1] > plain[1] + 0.2
    assert changed.mean() > plain.mean() + 0.1


def test_the_priors_are_those_of_the_draws():
    split, recorder = labeled_by_index(5), RecordingLoss()
    split.labels[:] = [0, 0, 0, 0, 1]
    settings = recipe(epochs=1, sampling="square_root", logit_adjustment=1.0)
    run(classifier(FixedNet(2), 2), recorder, settings, split, split)
    torch.testing.assert_close(recorder.label_offsets, torch.tensor([2 / 3, 1 / 3]).log())


def test_the_priors_are_those_of_the_images_that_are_trained_on():
    split, recorder = labeled_by_index(4), RecordingLoss()
    split.labels[:] = [0, 0, 1, 3]
    model = classifier(FixedNet(4), 4)
    settings = recipe(epochs=1, logit_adjustment=0.5)
    run(model, recorder, settings, split, split, indices=np.array([0, 1, 2]))
    torch.testing.assert_close(
        recorder.label_offsets, label_offsets(torch.tensor([2, 1, 0, 0]), 0.5)
    )
    run(model, recorder, recipe(epochs=1), split, split)
    assert recorder.label_offsets is None
