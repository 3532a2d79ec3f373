"""Logits and labels that all losses are tested on."""

import numpy as np
import pytest
import torch


# Session scope, since Hypothesis calls a test many times with the same fixtures.
@pytest.fixture(scope="session")
def labels():
    return torch.tensor([0, 3, 6, 3])


@pytest.fixture(scope="session")
def logits():
    """Random float64 logits [images, classes], by seed."""

    def make(seed, images=4, classes=7):
        return torch.from_numpy(np.random.default_rng(seed).normal(1, 4, (images, classes)))

    return make


@pytest.fixture(scope="session")
def cross_entropy():
    """Cross-entropy with the labels in float64 NumPy."""

    def compute(student, labels, smoothing=0.0):
        rows = student.double().numpy()
        rows = rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))
        hard = -np.mean(rows[np.arange(len(rows)), labels.numpy()])
        return (1 - smoothing) * hard - smoothing * np.mean(rows)

    return compute


@pytest.fixture(scope="session")
def value_and_gradient():
    """Value of a loss of the student logits, and its gradient."""

    def compute(loss, student):
        inputs = student.clone().requires_grad_()
        value = loss(inputs)
        value.backward()
        return value.detach(), inputs.grad

    return compute


@pytest.fixture(scope="session", params=[(4, 7), (5, 2), (64, 100)], ids=["4x7", "5x2", "64x100"])
def single_batch(request, logits):
    """Student and teacher logits in float32, as in training, and labels."""
    images, classes = request.param
    random = np.random.default_rng(3)
    labels = torch.from_numpy(random.integers(0, classes, images))
    return logits(1, images, classes).float(), logits(2, images, classes).float(), labels


@pytest.fixture(scope="session")
def published():
    """A loss of torchdistill as a function of student logits, teacher logits and labels."""
    from torchdistill.losses import mid_level

    def make(name, **options):
        loss = getattr(mid_level, name)("s", "output", "t", "output", **options)

        def compute(student, teacher, labels):
            return loss({"s": {"output": student}}, {"t": {"output": teacher}}, labels)

        return compute

    return make
