"""Networks, objectives and images that show one thing each."""

import numpy as np
import torch
from torch import nn

from pipeline.data.prepared import Split
from pipeline.losses import (
    CrossEntropy,
    Loss,
    Objective,
)
from pipeline.models.classifier import Classifier, Spec
from pipeline.params import Recipe, Views
from pipeline.training.loop import train
from pipeline.training.teacher import CachedTeacher
from pipeline.views import make_views

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


def weights_after(seed=0, **changes):
    split = coloured(20, seed=1)
    trained = run(
        small_net(3), CrossEntropy(), recipe(**changes), split, coloured(9, seed=2), seed=seed
    )
    return trained.model.state_dict()


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


def weight_after_one_epoch(**changes):
    trained = pushed(grey([255], [1]), epochs=1, **changes)
    return trained.model.state_dict()["backbone.weight"].item()
