import numpy as np
import pytest
import torch

from pipeline.errors import TrainingError
from pipeline.logit_cache import (
    CacheKey,
    CacheSource,
    open_logit_cache,
    open_packed_views,
    write_logit_cache,
)
from pipeline.losses import KDLoss
from pipeline.params import CacheLogits, Views
from pipeline.training.loop import train
from pipeline.training.task import TrainingEnvironment
from pipeline.training.teacher import CachedTeacher, LiveTeacher
from tests.pipeline.training.small_training import (
    CLASSES,
    network,
    random_split,
    recipe,
    small_task,
)
from tests.pipeline.training.toy_models import RecordingLoss

CPU = torch.device("cpu")
VIEWS = Views(vertical_flip=True, saturation=0.2)
IMAGES, EPOCHS = 30, 3


class Prepared:
    """The attributes of prepared data that writing a cache needs."""

    classes = network().spec.classes
    image_size = network().spec.image_size
    channels = 3

    def split(self, name):
        return random_split(IMAGES, seed=1)

    def unlabelled(self):
        return self.split("train").images[:0]


@pytest.fixture(scope="module")
def model():
    """A teacher with running statistics of random images."""
    teacher = network(width=12, seed=7)
    for _ in range(5):
        teacher(torch.rand(32, 3, 16, 16))
    with torch.no_grad():
        teacher.backbone[-1].weight.mul_(4)
    return teacher.eval()


def cached(model, folder, views=EPOCHS, **options):
    key = CacheKey("t", "d", "v", model.spec.image_size)
    source = CacheSource(model, key, Prepared(), VIEWS, CPU)
    params = CacheLogits(**{"views": views, "dtype": "float32", "batch_size": 7, **options})
    write_logit_cache(folder / "cache", source, params, work=folder / "work")
    return CachedTeacher(
        open_logit_cache(folder / "cache", key),
        open_packed_views(folder / "cache", model.spec.image_size),
    )


def train_with(teacher, loss=None, **changes):
    """Trains a network with dropout, whose random numbers must not depend on the teacher."""
    settings = recipe(**{"epochs": EPOCHS, "keep": "last", **changes})
    task = small_task(loss or KDLoss(), settings, IMAGES, VIEWS, teacher=teacher)
    return train(network(), task, TrainingEnvironment(CPU, 5))


def assert_close(first, second, tolerance):
    for one, other in zip(first.history, second.history, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=tolerance)
        assert one.terms == pytest.approx(other.terms, rel=tolerance)
    theirs = second.model.state_dict()
    for name, tensor in first.model.state_dict().items():
        torch.testing.assert_close(tensor, theirs[name], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("changes", [{}, {"accumulate": 3}, {"optimizer": "adamw", "lr": 0.01}])
def test_live_and_cached_teacher_give_the_same_weights(model, tmp_path, changes):
    live = train_with(LiveTeacher(model), **changes)
    assert_close(live, train_with(cached(model, tmp_path), **changes), 1e-4)
    # Other logits give other losses.
    zeros = CachedTeacher(np.zeros((EPOCHS, IMAGES, CLASSES), np.float32))
    assert train_with(zeros, **changes).history[0].loss != pytest.approx(live.history[0].loss, 1e-3)


@pytest.mark.parametrize(
    ("options", "tolerance"), [({"dtype": "float16"}, 2e-3), ({"pack_views": True}, 2e-2)]
)
def test_rounded_cache_gives_nearly_the_same_weights(model, tmp_path, options, tolerance):
    assert_close(
        train_with(LiveTeacher(model)),
        train_with(cached(model, tmp_path, **options)),
        tolerance,
    )


def test_live_teacher_has_new_views_and_cached_teacher_repeats_them(model, tmp_path):
    def logits_of(teacher):
        recorder = RecordingLoss()
        train_with(teacher, recorder, epochs=4, batch_size=IMAGES)
        return [logits for _, _, logits, _ in recorder.calls]

    live, cached_logits = (
        logits_of(LiveTeacher(model)),
        logits_of(cached(model, tmp_path, views=2)),
    )
    # Each epoch has one batch, with all images in order.
    for epoch in range(4):
        other = live[epoch % 2] if epoch >= 2 else cached_logits[epoch]
        is_equal = torch.allclose(live[epoch], other, atol=1e-4)
        assert is_equal == (epoch < 2)
    assert torch.equal(cached_logits[0], cached_logits[2])
    assert torch.equal(cached_logits[1], cached_logits[3])


def test_live_teacher_is_not_modified(model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    train_with(LiveTeacher(model))
    assert not model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_live_teacher_with_other_classes_raises():
    teacher = LiveTeacher(network(classes=CLASSES + 1).eval())
    with pytest.raises(TrainingError, match=r"the teacher: .*5 classes.* 4"):
        train_with(teacher)


def test_non_finite_live_teacher_raises():
    teacher = network().eval()
    with torch.no_grad():
        teacher.backbone[-1].bias[1] = torch.nan
    with pytest.raises(TrainingError, match=r"the teacher's logits .*fine-tune the teacher again"):
        train_with(LiveTeacher(teacher))
