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
from tests.pipeline.training.stand_ins import Spy

CPU = torch.device("cpu")
VIEWS = Views(vertical_flip=True, saturation=0.2)
IMAGES, EPOCHS = 30, 3


class Prepared:
    """As much of prepared data as a cache is written from."""

    classes = network().spec.classes
    image_size = network().spec.image_size

    def split(self, name):
        return random_split(IMAGES, seed=1)


@pytest.fixture(scope="module")
def model():
    """A teacher that has seen some images, so that its statistics are of them."""
    teacher = network(width=12, seed=7)
    for _ in range(5):
        teacher(torch.rand(32, 3, 16, 16))
    with torch.no_grad():
        teacher.backbone[-1].weight.mul_(4)
    return teacher.eval()


def cached(model, folder, views=EPOCHS, **options):
    key = CacheKey("t", "d", "v")
    source = CacheSource(model, key, Prepared(), VIEWS, CPU)
    params = CacheLogits(**{"views": views, "dtype": "float32", "batch_size": 7, **options})
    write_logit_cache(folder / "cache", source, params, work=folder / "work")
    return CachedTeacher(
        open_logit_cache(folder / "cache", key), open_packed_views(folder / "cache")
    )


def train_with(teacher, loss=None, **changes):
    """The network samples random numbers (dropout); no teacher may advance its generator."""
    settings = recipe(**{"epochs": EPOCHS, "keep": "last", **changes})
    task = small_task(loss or KDLoss(), settings, IMAGES, VIEWS, teacher=teacher)
    return train(network(), task, TrainingEnvironment(CPU, 5))


def assert_alike(first, second, tolerance):
    for one, other in zip(first.history, second.history, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=tolerance)
        assert one.terms == pytest.approx(other.terms, rel=tolerance)
    theirs = second.model.state_dict()
    for name, tensor in first.model.state_dict().items():
        torch.testing.assert_close(tensor, theirs[name], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("changes", [{}, {"accumulate": 3}, {"optimizer": "adamw", "lr": 0.01}])
def test_live_and_cached_teachers_give_the_same_losses_and_weights(model, tmp_path, changes):
    live = train_with(LiveTeacher(model), **changes)
    assert_alike(live, train_with(cached(model, tmp_path), **changes), 1e-4)
    # The teacher's logits matter.
    silent = CachedTeacher(np.zeros((EPOCHS, IMAGES, CLASSES), np.float32))
    assert train_with(silent, **changes).history[0].loss != pytest.approx(
        live.history[0].loss, 1e-3
    )


@pytest.mark.parametrize(
    ("options", "tolerance"), [({"dtype": "float16"}, 2e-3), ({"pack_views": True}, 2e-2)]
)
def test_a_rounding_cache_differs_by_no_more_than_its_rounding(model, tmp_path, options, tolerance):
    assert_alike(
        train_with(LiveTeacher(model)),
        train_with(cached(model, tmp_path, **options)),
        tolerance,
    )


def test_a_live_teacher_sees_a_new_view_in_every_epoch_and_a_cached_one_comes_round(
    model, tmp_path
):
    def logits_of(teacher):
        spy = Spy()
        train_with(teacher, spy, epochs=4, batch_size=IMAGES)
        return [logits for _, _, logits, _ in spy.steps]

    live, again = (
        logits_of(LiveTeacher(model)),
        logits_of(cached(model, tmp_path, views=2)),
    )
    # The batches of two epochs hold the same images, and a batch is in the images' order.
    for epoch in range(4):
        other = live[epoch % 2] if epoch >= 2 else again[epoch]
        alike = torch.allclose(live[epoch], other, atol=1e-4)
        assert alike == (epoch < 2)
    assert torch.equal(again[0], again[2])
    assert torch.equal(again[1], again[3])


def test_a_live_teacher_learns_nothing(model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    train_with(LiveTeacher(model))
    assert not model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_live_teacher_of_another_number_of_classes_is_refused():
    teacher = LiveTeacher(network(classes=CLASSES + 1).eval())
    with pytest.raises(TrainingError, match=r"the teacher: .*5 classes.* 4"):
        train_with(teacher)


def test_a_live_teacher_that_goes_bad_is_named():
    teacher = network().eval()
    with torch.no_grad():
        teacher.backbone[-1].bias[1] = torch.nan
    with pytest.raises(TrainingError, match=r"the teacher's logits .*fine-tune the teacher again"):
        train_with(LiveTeacher(teacher))
