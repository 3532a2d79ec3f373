import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.data.prepared import PreparedData
from pipeline.errors import ArtefactError, TrainingError
from pipeline.logit_cache import (
    cache_key,
    check_classes,
    open_logit_cache,
    open_packed_views,
    write_logit_cache,
)
from pipeline.models.classifier import Classifier, Spec
from pipeline.params import Views
from pipeline.views import make_views

CPU = torch.device("cpu")
RECIPE = Views(vertical_flip=True, saturation=0.2)
IMAGES, SIZE, CLASSES = 11, 16, ("ant", "bee", "wasp")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    random = np.random.default_rng(0)
    (folder / "train").mkdir()
    pixels = random.integers(0, 256, (IMAGES, SIZE, SIZE, 3), dtype=np.uint8)
    np.save(folder / "train" / "images.npy", pixels)
    np.save(folder / "train" / "labels.npy", random.integers(0, len(CLASSES), IMAGES))
    info = {"classes": list(CLASSES), "image_size": SIZE, "fingerprint": "f" * 64}
    return PreparedData(folder, {**info, "splits": {"train": {"images": IMAGES}}})


def teacher(scale=1.0, classes=CLASSES):
    torch.manual_seed(0)
    backbone = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(784, len(classes))
    )
    with torch.no_grad():
        backbone[-1].weight.mul_(scale)
    spec = Spec("tiny", classes, SIZE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    return Classifier(backbone, spec).eval()


def write(folder, data, model=None, **changes):
    options = {"views": 3, "dtype": "float16", "batch_size": 4, "device": CPU, **changes}
    key = cache_key("a" * 64, data, RECIPE)
    return key, write_logit_cache(folder, model or teacher(), key, data, RECIPE, **options)


@pytest.mark.parametrize(("dtype", "precision"), [("float16", 2**-11), ("float32", 1e-5)])
def test_cached_logits_are_what_the_live_teacher_says_of_the_same_views(
    data, tmp_path, dtype, precision
):
    key, info = write(tmp_path / "logits", data, dtype=dtype)
    cached = open_logit_cache(tmp_path / "logits", key)
    assert cached.shape == (3, IMAGES, len(CLASSES))
    assert cached.dtype == np.dtype(dtype)
    model, split = teacher(), data.split("train")
    live = np.empty(cached.shape, np.float32)
    with torch.inference_mode():
        # One image at a time and backwards: the cache was made in batches of 4.
        for view in range(3):
            for i in reversed(range(IMAGES)):
                pixels = make_views(split.images[[i]], np.array([i]), view, RECIPE, CPU)
                live[view, i] = model(pixels)[0].numpy()
    np.testing.assert_allclose(cached, live, rtol=precision, atol=1e-5)
    assert info["train_accuracy"] == np.mean(live.argmax(2) == split.labels)


def test_packed_views_are_the_views_and_the_logits_are_of_just_those_pixels(data, tmp_path):
    key, _ = write(tmp_path / "logits", data, pack_views=True, dtype="float32")
    cached = open_logit_cache(tmp_path / "logits", key)
    pixels = open_packed_views(tmp_path / "logits")
    split, places = data.split("train"), np.arange(IMAGES)
    assert pixels.shape == (3, IMAGES, SIZE, SIZE, 3)
    for view in range(3):
        exact = make_views(split.images, places, view, RECIPE, CPU)
        seen = torch.from_numpy(pixels[view].astype(np.float32) / 255).permute(0, 3, 1, 2)
        assert (seen - exact).abs().max() <= 0.5 / 255 + 1e-6
        with torch.inference_mode():
            said = teacher()(seen)
        np.testing.assert_allclose(cached[view], said.numpy(), rtol=1e-5, atol=1e-5)


def test_views_that_are_not_packed_are_none_and_packed_ones_that_are_lost_are_refused(
    data, tmp_path
):
    write(tmp_path / "plain", data)
    assert open_packed_views(tmp_path / "plain") is None
    write(tmp_path / "packed", data, pack_views=True)
    for harm, message in (
        (cut, "is truncated"),
        (other_shape, "not what"),
        (Path.unlink, "missing"),
    ):
        harm(tmp_path / "packed" / "views.npy")
        with pytest.raises(ArtefactError, match=message) as caught:
            open_packed_views(tmp_path / "packed")
        assert caught.value.path == tmp_path / "packed" / "views.npy"
        write(tmp_path / "packed", data, pack_views=True)


def test_the_batch_size_does_not_matter(data, tmp_path):
    caches = []
    for size in (1, 5, 64):
        key, _ = write(tmp_path / str(size), data, batch_size=size, dtype="float32")
        caches.append(open_logit_cache(tmp_path / str(size), key))
    np.testing.assert_allclose(caches[0], caches[1], rtol=0, atol=1e-5)
    np.testing.assert_allclose(caches[0], caches[2], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": "b"}, "was made from another teacher$"),
        ({"data": "b"}, "was made from other data$"),
        ({"views": "b"}, "was made from other views$"),
        ({"teacher": "b", "views": "b"}, "was made from another teacher and other views$"),
    ],
)
def test_a_cache_of_something_else_is_refused_naming_what_differs(data, tmp_path, changes, message):
    key, _ = write(tmp_path / "logits", data)
    with pytest.raises(ArtefactError, match=message):
        open_logit_cache(tmp_path / "logits", replace(key, **changes))


@pytest.mark.parametrize("field", list(Views.model_fields))
def test_any_change_of_the_recipe_is_a_change_of_the_key(data, field):
    value = getattr(RECIPE, field)
    if isinstance(value, bool):
        change = not value
    else:
        change = {"seed": 1, "auto": "trivial"}.get(field) or value * 0.9 + 0.05
    other = RECIPE.model_copy(update={field: change})
    assert cache_key("a", data, other) != cache_key("a", data, RECIPE)


def cut(path):
    path.write_bytes(path.read_bytes()[:-4])


def spoil_header(path):
    path.write_bytes(b"not an array")


def pickled(path):
    np.save(path, np.array([{"code": 1}], dtype=object), allow_pickle=True)


def other_shape(path):
    np.save(path, np.load(path)[:2])


def other_dtype(path):
    np.save(path, np.load(path).astype(np.float32))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (cut, "is truncated or not a NumPy file"),
        (spoil_header, "is truncated or not a NumPy file"),
        (pickled, "is truncated or not a NumPy file"),
        (lambda path: path.write_bytes(b""), "is truncated or not a NumPy file"),
        (other_shape, "not what cache.json says"),
        (other_dtype, "not what cache.json says"),
        (lambda path: path.unlink(), "is missing"),
    ],
)
def test_a_harmed_cache_is_refused(data, tmp_path, harm, message):
    key, _ = write(tmp_path / "logits", data)
    harm(tmp_path / "logits" / "logits.npy")
    with pytest.raises(ArtefactError, match=message) as caught:
        open_logit_cache(tmp_path / "logits", key)
    assert caught.value.path == tmp_path / "logits" / "logits.npy"


def test_a_missing_cache_and_one_of_another_format_are_refused(data, tmp_path):
    key = cache_key("a", data, RECIPE)
    with pytest.raises(ArtefactError, match=r"cache\.json: is missing"):
        open_logit_cache(tmp_path, key)
    (tmp_path / "cache.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(ArtefactError, match=r"cache\.json: has format 99, this Finch reads 2"):
        open_logit_cache(tmp_path, key)


@pytest.mark.filterwarnings("error")
def test_logits_too_large_for_float16_are_refused_and_the_old_cache_stays(data, tmp_path):
    folder = tmp_path / "logits"
    key, _ = write(folder, data)
    before = np.array(open_logit_cache(folder, key))
    with pytest.raises(TrainingError, match=r"view 0, images 0 to 3: .* float16; .*float32"):
        write(folder, data, teacher(scale=1e7))
    np.testing.assert_array_equal(open_logit_cache(folder, key), before)
    assert [path.name for path in tmp_path.iterdir()] == ["logits"]
    write(folder, data, teacher(scale=1e7), dtype="float32")
    assert np.abs(open_logit_cache(folder, key)).max() > 65504


def test_a_teacher_that_says_nan_is_refused(data, tmp_path):
    with pytest.raises(TrainingError, match="not finite as float32"):
        write(tmp_path / "logits", data, teacher(scale=float("nan")), dtype="float32")
    assert not (tmp_path / "logits").exists()


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (("ant", "bee"), "the teacher: knows 2 classes, the student is to learn 3; fine-tune"),
        (("ant", "wasp", "bee"), "knows class 1 as 'wasp', the student is to learn 'bee'"),
    ],
)
def test_a_teacher_of_other_classes_is_refused(data, tmp_path, classes, said):
    with pytest.raises(TrainingError, match=said):
        check_classes(classes, data.classes)
    with pytest.raises(TrainingError, match=said):
        write(tmp_path / "logits", data, teacher(classes=classes))
    assert not (tmp_path / "logits").exists()
