"""Small networks, losses and images for tests of the training loop."""

import numpy as np
import torch
from torch import nn

from pipeline.data.prepared import Split
from pipeline.losses import CrossEntropy, DistillationLoss
from pipeline.models.classifier import Classifier, Spec
from pipeline.params import Recipe, Views
from pipeline.training.loop import train
from pipeline.training.task import TrainingEnvironment, TrainingTask
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


def colored(count, seed):
    """Noisy images labeled with their strongest color channel."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    images = rng.integers(0, 160, (count, SIZE, SIZE, 3), dtype=np.uint8)
    images[np.arange(count), :, :, labels] += 60
    return Split(images, labels)


def recipe(**changes):
    """In fp32 on every processor, to compare results closely."""
    values = {"epochs": 3, "batch_size": 8, "lr": 0.05, "weight_decay": 1e-4, "precision": "fp32"}
    return Recipe(**{**values, **changes})


def run(
    model, loss, settings, train_split, val_split, views=VIEWS, *, seed=0, env=None, **task_options
):
    task = TrainingTask(settings, loss, train_split, val_split, views, **task_options)
    return train(model, task, TrainingEnvironment(CPU, seed, **(env or {})))


def cached_teacher(split, views, compute):
    """A logit cache with the outputs of ``compute`` for each view."""
    ids = np.arange(len(split))
    logits = [compute(make_views(split.images, ids, k, VIEWS, CPU)).numpy() for k in range(views)]
    return CachedTeacher(np.stack(logits))


def weights_after(seed=0, **changes):
    split, val = colored(20, seed=1), colored(9, seed=2)
    result = run(small_net(3), CrossEntropy(), recipe(**changes), split, val, seed=seed)
    return result.model.state_dict()


class FixedNet(nn.Module):
    """A fixed linear function of the pixels; its only parameter has no effect."""

    def __init__(self, outputs):
        super().__init__()
        torch.manual_seed(5)
        self.register_buffer("weight", torch.randn(3 * SIZE * SIZE, outputs) / SIZE)
        self.idle = nn.Parameter(torch.zeros(()))

    def forward(self, pixels):
        return pixels.flatten(1) @ self.weight + 0 * self.idle


class RecordingLoss(DistillationLoss):
    """Records the arguments of every call. The loss is the mean label."""

    def __init__(self, needs_teacher=False):
        super().__init__()
        self.needs_teacher = needs_teacher
        self.calls = []

    def teacher_scale(self, epoch):
        return epoch

    def terms(self, student_logits, teacher_logits, labels, teacher_scale=1.0):
        self.calls.append((student_logits.detach().clone(), labels, teacher_logits, teacher_scale))
        mean = labels.float().mean()
        return {"quarter": student_logits.sum() * 0 + mean / 4, "rest": 3 * mean / 4}


class LossOf(DistillationLoss):
    """A function of the student's logits as a loss."""

    needs_teacher = False

    def __init__(self, function):
        super().__init__()
        self.function = function

    def terms(self, student_logits, teacher_logits, labels, teacher_scale=1.0):
        return {"value": self.function(student_logits)}


def labeled_by_index(count):
    """Random images labeled with their indices."""
    rng = np.random.default_rng(4)
    images = rng.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)
    return Split(images, np.arange(count))


class Threshold(nn.Module):
    """Predicts class 0 for images darker than its only weight, else class 1."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, 1))

    def forward(self, pixels):
        darker = self.weight[0] - (pixels.mean(dim=(1, 2, 3)) * 0.25 + 0.5)
        return torch.stack([darker, torch.zeros_like(darker)], dim=1)


def gray(values, labels):
    images = np.broadcast_to(
        np.array(values, np.uint8)[:, None, None, None], (len(values), SIZE, SIZE, 3)
    )
    return Split(np.array(images), np.array(labels))


def train_threshold(val, **changes):
    """Trains ``Threshold`` with gradient -1, so each epoch adds 0.1 (the lr) to its weight."""
    plain = {"lr": 0.1, "momentum": 0.0, "weight_decay": 0.0, "warmup": 0.0}
    settings = recipe(**{**plain, "schedule": "constant", "batch_size": 99, **changes})
    loss = LossOf(lambda logits: -logits[:, 0].mean())
    return run(classifier(Threshold(), 2), loss, settings, gray([9, 9], [0, 0]), val)


def weight_after_one_epoch(**changes):
    result = train_threshold(gray([255], [1]), epochs=1, **changes)
    return result.model.state_dict()["backbone.weight"].item()
