import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ArtifactError, TrainingError
from pipeline.logit_cache import (
    cache_key,
    check_classes,
    open_logit_cache,
    open_packed_views,
    read_cache,
    write_empty_cache,
)
from pipeline.params import CacheLogits, Views
from tests.pipeline.logit_cache.small_cache import CLASSES, RECIPE, key_of, source, write

EMPTY = CacheLogits(views=0)


def cut(path):
    path.write_bytes(path.read_bytes()[:-4])


def overwrite_header(path):
    path.write_bytes(b"not an array")


def pickled(path):
    np.save(path, np.array([{"code": 1}], dtype=object), allow_pickle=True)


def other_shape(path):
    np.save(path, np.load(path)[:2])


def other_value(path):
    logits = np.load(path)
    logits[-1, -1, -1] += 1
    np.save(path, logits)


def other_dtype(path):
    np.save(path, np.load(path).astype(np.float32))


@pytest.mark.parametrize("field", list(Views.model_fields))
def test_key_depends_on_every_option_of_the_view_recipe(data, field):
    value = getattr(RECIPE, field)
    if isinstance(value, bool):
        change = not value
    elif isinstance(value, int):
        change = abs(value - 1)
    else:
        change = "trivial" if field == "auto" else value * 0.9 + 0.05
    other = RECIPE.model_copy(update={field: change})
    assert cache_key("a", data, other, 16) != cache_key("a", data, RECIPE, 16)


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (("ant", "bee"), r"the teacher: .*2 classes.*3; fine-tune"),
        (("ant", "wasp", "bee"), r"the teacher: .*class 1 .*'wasp'.*'bee'"),
    ],
)
def test_teacher_with_other_classes_raises(classes, expected):
    with pytest.raises(TrainingError, match=expected):
        check_classes(classes, CLASSES)
    check_classes(CLASSES, list(CLASSES))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": "b"}, "was made from models/teacher a+, which is now b"),
        ({"data": "b"}, "was made from data/prepared .*, which is now b"),
        ({"views": "b"}, "was made from views .*, which is now b"),
    ],
)
def test_cache_of_other_inputs_raises_and_names_them(data, tmp_path, changes, message):
    key, _ = write(tmp_path / "logits", data)
    with pytest.raises(ArtifactError, match=message):
        open_logit_cache(tmp_path / "logits", replace(key, **changes))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "is truncated or not a NumPy file"),
        (overwrite_header, "is truncated or not a NumPy file"),
        (pickled, "is truncated or not a NumPy file"),
        (lambda path: path.write_bytes(b""), "is truncated or not a NumPy file"),
        (other_shape, "unlike cache.json"),
        (other_dtype, "unlike cache.json"),
        (other_value, "was changed"),
        (lambda path: path.unlink(), "is missing"),
    ],
)
def test_damaged_cache_raises(data, tmp_path, damage, message):
    key, _ = write(tmp_path / "logits", data)
    damage(tmp_path / "logits" / "logits.npy")
    with pytest.raises(ArtifactError, match=message) as caught:
        open_logit_cache(tmp_path / "logits", key)
    assert caught.value.path == tmp_path / "logits" / "logits.npy"


def test_missing_cache_or_other_format_raises(data, tmp_path):
    key = cache_key("a", data, RECIPE, 16)
    with pytest.raises(ArtifactError, match=r"cache\.json: is missing"):
        open_logit_cache(tmp_path, key)
    (tmp_path / "cache.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(ArtifactError, match=r"cache\.json: has format 99, .* 4"):
        open_logit_cache(tmp_path, key)


def test_packed_views_are_none_or_checked(data, tmp_path):
    write(tmp_path / "plain", data)
    assert open_packed_views(tmp_path / "plain", 16) is None
    write(tmp_path / "packed", data, pack_views=True)
    for damage, message in (
        (cut, "is truncated"),
        (other_shape, "unlike"),
        (Path.unlink, "missing"),
    ):
        damage(tmp_path / "packed" / "views.npy")
        with pytest.raises(ArtifactError, match=message) as caught:
            open_packed_views(tmp_path / "packed", 16)
        assert caught.value.path == tmp_path / "packed" / "views.npy"
        write(tmp_path / "packed", data, pack_views=True)


def test_a_cache_of_another_teacher_size_is_refused(data, tmp_path):
    key, _ = write(tmp_path, data)
    message = "was made with a teacher of 16 px, which now sees 24 px"
    with pytest.raises(ArtifactError, match=message) as caught:
        open_logit_cache(tmp_path, replace(key, image_size=24))
    assert caught.value.path == tmp_path / "cache.json"


def test_packed_views_of_another_student_size_are_refused(data, tmp_path):
    write(tmp_path / "packed", data, pack_views=True, packed_size=12)
    assert open_packed_views(tmp_path / "packed", 12).shape[2:] == (12, 12, 3)
    with pytest.raises(ArtifactError, match="has views of 12 px, and the student sees 16 px"):
        open_packed_views(tmp_path / "packed", 16)


def test_empty_cache_has_no_logits(data, tmp_path):
    key = key_of(data)
    write_empty_cache(tmp_path, source(data), EMPTY)
    assert [path.name for path in tmp_path.iterdir()] == ["cache.json"]
    assert read_cache(tmp_path, key, EMPTY).shape[0] == 0
    with pytest.raises(ArtifactError, match=r"cache\.json: contains no logits: .*views = 0; set"):
        open_logit_cache(tmp_path, key)


def test_cache_with_other_number_of_views_raises(data, tmp_path):
    key = key_of(data)
    write_empty_cache(tmp_path / "none", source(data), EMPTY)
    with pytest.raises(ArtifactError, match=r"cache_logits\.views = 0, .*8"):
        read_cache(tmp_path / "none", key, CacheLogits(views=8))
    write(tmp_path / "three", data, views=3)
    assert read_cache(tmp_path / "three", key, CacheLogits(views=3)).shape[0] == 3
    for views in (0, 2):
        with pytest.raises(ArtifactError, match=rf"views = 3, .*{views}"):
            read_cache(tmp_path / "three", key, CacheLogits(views=views))


@pytest.mark.parametrize("change", ["teacher", "data", "views"])
def test_empty_cache_of_other_inputs_raises(data, tmp_path, change):
    key = key_of(data)
    write_empty_cache(tmp_path, source(data), EMPTY)
    with pytest.raises(ArtifactError, match="was made from"):
        read_cache(tmp_path, replace(key, **{change: "b"}), EMPTY)


@pytest.mark.parametrize(
    "changes", [{"dtype": "float32"}, {"precision": "bf16"}, {"pack_views": True}]
)
def test_cache_with_other_parameters_raises(data, tmp_path, changes):
    key, _ = write(tmp_path / "logits", data, views=2)
    same = CacheLogits(views=2, batch_size=7)  # the batch size changes rounding only
    assert read_cache(tmp_path / "logits", key, same).params["views"] == 2
    ((name, value),) = changes.items()
    with pytest.raises(ArtifactError, match=rf"cache_logits\.{name} = .*expected {value}"):
        open_logit_cache(tmp_path / "logits", key, same.model_copy(update=changes))


def test_a_value_of_the_wrong_type_is_named(data, tmp_path):
    key, _ = write(tmp_path, data)
    path = tmp_path / "cache.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"shape": None}))
    with pytest.raises(ArtifactError, match=r"cache\.json: .*shape"):
        read_cache(tmp_path, key)
