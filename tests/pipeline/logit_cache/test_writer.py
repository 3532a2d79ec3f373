import numpy as np
import pytest
import torch
from torch import nn

from pipeline.errors import TrainingError
from pipeline.logit_cache import open_logit_cache, open_packed_views, write_empty_cache
from pipeline.models.classifier import Classifier
from pipeline.params import CacheLogits
from pipeline.views import make_views
from tests.pipeline.logit_cache.small_cache import (
    CLASSES,
    CPU,
    IMAGES,
    RECIPE,
    SIZE,
    key_of,
    prepare,
    source,
    teacher,
    write,
)


@pytest.mark.parametrize(("dtype", "precision"), [("float16", 2**-11), ("float32", 1e-5)])
def test_cached_logits_equal_those_of_the_teacher(data, tmp_path, dtype, precision):
    key, info = write(tmp_path / "logits", data, dtype=dtype)
    cached = open_logit_cache(tmp_path / "logits", key)
    assert cached.shape == (3, IMAGES, len(CLASSES))
    assert cached.dtype == np.dtype(dtype)
    model, split = teacher(), data.split("train")
    live = np.empty(cached.shape, np.float32)
    with torch.inference_mode():
        # With batch size 1 in reverse order; the cache was made in batches of 4.
        for view in range(3):
            for i in reversed(range(IMAGES)):
                pixels = make_views(split.images[[i]], np.array([i]), view, RECIPE, CPU)
                live[view, i] = model(pixels)[0].numpy()
    np.testing.assert_allclose(cached, live, rtol=precision, atol=1e-5)
    assert info.train_accuracy == np.mean(live.argmax(2) == split.labels)


def test_logits_are_computed_from_packed_views(data, tmp_path):
    key, _ = write(tmp_path / "logits", data, pack_views=True, dtype="float32")
    cached = open_logit_cache(tmp_path / "logits", key)
    pixels = open_packed_views(tmp_path / "logits", SIZE)
    split, indices = data.split("train"), np.arange(IMAGES)
    assert pixels.shape == (3, IMAGES, SIZE, SIZE, 3)
    for view in range(3):
        exact = make_views(split.images, indices, view, RECIPE, CPU)
        pixels_seen = torch.from_numpy(pixels[view].astype(np.float32) / 255).permute(0, 3, 1, 2)
        assert (pixels_seen - exact).abs().max() <= 0.5 / 255 + 1e-6
        with torch.inference_mode():
            logits = teacher()(pixels_seen)
        np.testing.assert_allclose(cached[view], logits.numpy(), rtol=1e-5, atol=1e-5)


def test_teacher_and_student_each_have_their_own_rendering_of_a_view(tmp_path):
    """Images of 48 px, a teacher that sees 16 px and a student that sees 12 px."""
    data = prepare(tmp_path / "large", size=48)
    write(tmp_path / "logits", data, pack_views=True, packed_size=12, dtype="float32")
    cached = open_logit_cache(tmp_path / "logits", key_of(data))
    packed = open_packed_views(tmp_path / "logits", 12)
    images, indices = data.split("train").images, np.arange(IMAGES)
    for view in range(3):
        seen = make_views(images, indices, view, RECIPE, CPU, SIZE)
        with torch.inference_mode():
            logits = teacher()(seen).numpy()
        np.testing.assert_allclose(cached[view], logits, rtol=1e-5, atol=1e-5)
        exact = make_views(images, indices, view, RECIPE, CPU, 12).permute(0, 2, 3, 1) * 255
        assert np.abs(packed[view] - exact.numpy()).max() <= 0.5 + 1e-3


def test_logits_do_not_depend_on_the_batch_size(data, tmp_path):
    caches = []
    for size in (1, 5, 64):
        key, _ = write(tmp_path / str(size), data, batch_size=size, dtype="float32")
        caches.append(open_logit_cache(tmp_path / str(size), key))
    np.testing.assert_allclose(caches[0], caches[1], rtol=0, atol=1e-5)
    np.testing.assert_allclose(caches[0], caches[2], rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("error")
def test_float16_overflow_raises_and_keeps_the_old_cache(data, tmp_path):
    folder = tmp_path / "logits"
    key, _ = write(folder, data)
    before = np.array(open_logit_cache(folder, key))
    with pytest.raises(TrainingError, match=r"view 0, images 0 to 3: .* float16; .*float32"):
        write(folder, data, teacher(scale=1e7))
    np.testing.assert_array_equal(open_logit_cache(folder, key), before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logits", "work"]
    write(folder, data, teacher(scale=1e7), dtype="float32")
    assert np.abs(open_logit_cache(folder, key)).max() > 65504


def test_non_finite_logits_raise(data, tmp_path):
    with pytest.raises(TrainingError, match="not finite in float32"):
        write(tmp_path / "logits", data, teacher(scale=float("nan")), dtype="float32")
    assert not (tmp_path / "logits").exists()


class SmallMemory(nn.Module):
    """The teacher's network on a GPU with room for a number of images."""

    def __init__(self, room):
        super().__init__()
        self.network, self.room = teacher().backbone, room

    def forward(self, pixels):
        if len(pixels) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0")
        return self.network(pixels)


@pytest.mark.parametrize("pack_views", [False, True])
def test_a_batch_that_does_not_fit_is_run_in_parts(data, tmp_path, pack_views):
    options = {"dtype": "float32", "batch_size": 4, "pack_views": pack_views}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    key, _ = write(whole, data, **options)
    write(parts, data, Classifier(SmallMemory(1), teacher().spec).eval(), **options)
    expected, found = open_logit_cache(whole, key), open_logit_cache(parts, key)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    if pack_views:
        expected, found = open_packed_views(whole, SIZE), open_packed_views(parts, SIZE)
        np.testing.assert_array_equal(found, expected)


def test_a_teacher_that_does_not_fit_is_an_error(data, tmp_path):
    model = Classifier(SmallMemory(0), teacher().spec).eval()
    expected = r"the teacher: does not fit .* \(Tried to allocate .*\); .*run\.device to cpu"
    with pytest.raises(TrainingError, match=expected):
        write(tmp_path / "cache", data, model)


@pytest.mark.parametrize("classes", [("ant", "bee"), ("ant", "wasp", "bee")])
def test_teacher_with_other_classes_raises(data, tmp_path, classes):
    with pytest.raises(TrainingError, match=r"the teacher: .*the student"):
        write(tmp_path / "logits", data, teacher(classes=classes))
    with pytest.raises(TrainingError, match=r"the teacher: .*the student"):
        write_empty_cache(
            tmp_path / "logits", source(data, teacher(classes=classes)), CacheLogits(views=0)
        )
    assert not list(tmp_path.iterdir())
