"""Training with larger packed images than the input, and with a teacher of its own size."""

import numpy as np
import pytest
import torch

from pipeline.losses import CrossEntropy, KDLoss
from pipeline.params import Views
from pipeline.training.loop import train
from pipeline.training.task import TrainingEnvironment, TrainingTask
from pipeline.training.teacher import CachedTeacher, LiveTeacher
from pipeline.views import make_views, to_uint8
from tests.pipeline.training.small_training import network, random_split, recipe

CPU = torch.device("cpu")
VIEWS = Views(crop_scale=0.3, vertical_flip=True)
IMAGES, PACKED, TEACHER, STUDENT = 16, 48, 32, 16
SPLIT = random_split(IMAGES, seed=1, size=PACKED)


def run(loss, teacher=None, seen=None, **changes):
    """Trains a student; ``seen`` gets the sizes of the images that it and the teacher see."""
    task = TrainingTask(
        recipe(**{"epochs": 2, "keep": "last", **changes}),
        loss,
        SPLIT,
        random_split(8, seed=2, size=STUDENT),
        VIEWS,
        teacher=teacher,
    )
    student = network(size=STUDENT)
    if seen is not None:
        student.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[-1]))
    return train(student, task, TrainingEnvironment(CPU, 5))


@pytest.fixture
def teacher():
    return network(width=12, seed=7, size=TEACHER).eval()


def cached_logits(teacher):
    """The teacher's logits on its own rendering of two views, float32 [2, n, classes]."""
    with torch.inference_mode():
        views = [
            make_views(SPLIT.images, np.arange(IMAGES), v, VIEWS, CPU, TEACHER) for v in range(2)
        ]
        return np.stack([teacher(view).numpy() for view in views])


def test_the_student_sees_images_of_its_own_size():
    seen = []
    run(CrossEntropy(), seen=seen)
    assert set(seen) == {STUDENT}


@pytest.mark.parametrize("changes", [{}, {"accumulate": 2}])
def test_a_live_teacher_sees_its_own_rendering_of_the_views(teacher, changes):
    seen = []
    teacher.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[-1]))
    live = run(KDLoss(), LiveTeacher(teacher), **changes)
    assert set(seen) == {TEACHER}
    cached = run(KDLoss(), CachedTeacher(cached_logits(teacher)), **changes)
    for one, other in zip(live.history, cached.history, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-4)


def test_a_live_teacher_sees_its_own_rendering_of_mixed_views(teacher):
    seen = []
    teacher.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[-1]))
    run(KDLoss(), LiveTeacher(teacher), mixup=0.5, cutmix=0.5)
    assert set(seen) == {TEACHER}


def test_packed_views_of_the_student_give_the_same_training(teacher):
    logits = cached_logits(teacher)
    packed = [
        to_uint8(make_views(SPLIT.images, np.arange(IMAGES), v, VIEWS, CPU, STUDENT)).numpy()
        for v in range(2)
    ]
    computed = run(KDLoss(), CachedTeacher(logits))
    read = run(KDLoss(), CachedTeacher(logits, np.stack(packed)))
    assert read.history[-1].loss == pytest.approx(computed.history[-1].loss, rel=0.02)
