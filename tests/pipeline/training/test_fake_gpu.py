"""Training on a GPU that computes no values: devices agree, and no step waits for it."""

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException

from pipeline.losses import FiGKDLoss, KDLoss
from pipeline.models.ensemble import Ensemble
from pipeline.params import Views
from pipeline.plugins import LOSSES
from pipeline.training.loop import train
from pipeline.training.task import TrainingEnvironment, TrainingTask
from pipeline.training.teacher import CachedTeacher, LiveTeacher
from pipeline.training.unlabelled import UnlabelledImages
from pipeline.transfers import to_device
from tests.fake_gpu import GPU, fake_gpu, on_gpu
from tests.pipeline.training.small_training import (
    CLASSES,
    SIZE,
    network,
    random_split,
    recipe,
)

IMAGES, STEPS = 16, 2


UNLABELLED = UnlabelledImages(random_split(9, seed=3).images, np.arange(9), 0.25)


def cached_teacher():
    return CachedTeacher(np.zeros((2, IMAGES, CLASSES), np.float16))


def packed_teacher():
    return CachedTeacher(cached_teacher().logits, np.zeros((2, IMAGES, SIZE, SIZE, 3), np.uint8))


def live_teacher():
    return LiveTeacher(on_gpu(network).eval(), torch.bfloat16)


def ensemble():
    return LiveTeacher(Ensemble([on_gpu(network), on_gpu(network)], (1.0, 2.0)).eval())


class NoCheckpoints:
    """Is never due, and writes nothing at the end of an epoch."""

    def due(self):
        return False

    def restore(self, state):
        return False

    def save(self, state):
        pass


def train_on_fake_gpu(loss, teacher=cached_teacher, unlabelled=None, env=None, **settings):
    """Trains for an epoch; returns what waited for the GPU until each step, and until the end."""
    with fake_gpu() as waits:
        found = []

        def record():
            found.append((list(waits.reads), list(waits.writes)))
            return False

        task = TrainingTask(
            recipe(epochs=1, **settings),
            loss,
            random_split(IMAGES, seed=1),
            random_split(12, seed=2),
            Views(),
            teacher(),
            unlabelled=unlabelled,
        )
        env = {"check_every": 100, "data_on_device": "never", **(env or {})}
        env |= {"should_stop": record, "checkpoints": NoCheckpoints()}
        train(on_gpu(network), task, TrainingEnvironment(GPU, 5, **env))
        record()
    assert len(found) == STEPS + 1
    return found


def assert_no_step_waits(found):
    """The first step copies constants; the epoch ends with reading losses, logits and flags."""
    first, last, end = found
    assert last == first
    assert first[0] == []
    assert [place.split(":")[0] for place in end[0]] == [
        "training/pending_losses.py",
        "training/validation.py",
        "training/finite_checks.py",  # of all weights at once
    ]


@pytest.mark.parametrize("method", LOSSES.names())
def test_no_loss_waits(method):
    loss = FiGKDLoss(CLASSES, redraw=True) if method == "figkd" else LOSSES[method]()
    assert_no_step_waits(train_on_fake_gpu(loss))


OPTIONS = {
    "bf16, accumulation": {"precision": "bf16", "accumulate": 3},
    "fp16, no clipping": {"precision": "fp16", "clip_norm": 0.0},
    "fp16, AdamW, no EMA": {"precision": "fp16", "optimizer": "adamw", "ema_decay": 0.0},
    "fp32, mixup, live teacher": {"precision": "fp32", "mixup": 0.5, "teacher": live_teacher},
    "CutMix, live teachers": {"cutmix": 0.5, "teacher": ensemble},
    "packed views": {"teacher": packed_teacher, "sampling": "balanced"},
    "images without labels": {"unlabelled": UNLABELLED, "teacher": live_teacher},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_no_option_waits(name):
    assert_no_step_waits(train_on_fake_gpu(FiGKDLoss(CLASSES), **OPTIONS[name]))


PLACED = {
    "cached teacher": {},
    "packed views": {"teacher": packed_teacher},
    "images without labels": {"unlabelled": UNLABELLED, "teacher": live_teacher},
}


@pytest.mark.parametrize("name", PLACED)
def test_data_on_the_gpu(name):
    placed = {"data_on_device": "always"}
    assert_no_step_waits(train_on_fake_gpu(FiGKDLoss(CLASSES), env=placed, **PLACED[name]))


def test_losses_are_read_every_few_steps():
    reads = [len(reads) for reads, _ in train_on_fake_gpu(KDLoss(), env={"check_every": 2})]
    assert reads == [0, 1, 3]  # in the second step, and logits and weights at the end


def test_what_waits_is_found():
    """The fake GPU refuses to mix devices and to read, and records what a copy waits for."""
    with fake_gpu() as waits:
        values = torch.zeros(3, device=GPU)
        for wrong in (
            lambda: values + torch.zeros(3),
            lambda: values.sum().item(),
            lambda: values.tolist(),
            lambda: bool(values.sum()),
            lambda: values[values > 0],
            lambda: torch.where(values > 0),
        ):
            with pytest.raises((RuntimeError, DataDependentOutputException)):
                wrong()
        assert (waits.reads, waits.writes) == ([], [])
        to_device(np.zeros(3), GPU, torch.float32)
        assert waits.writes == []
        for write in (
            lambda: torch.zeros(3).to(GPU),
            lambda: torch.zeros(3).to(GPU, non_blocking=True),
            lambda: values.copy_(torch.zeros(3)),
            lambda: torch.tensor([1.0, 2.0], device=GPU),
            lambda: values[[0, 1]],
            lambda: values.new_tensor([1.0]),
        ):
            before = len(waits.writes)
            write()
            assert len(waits.writes) == before + 1
        for read in (lambda: values.cpu(), lambda: values.to("cpu")):
            before = len(waits.reads)
            read()
            assert len(waits.reads) == before + 1
