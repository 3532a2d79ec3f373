import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ArtefactError
from pipeline.logit_cache import (
    cache_key,
    open_logit_cache,
    open_packed_views,
    read_cache,
    write_empty_cache,
)
from tests.pipeline.logit_cache.small_cache import RECIPE, key_of, source, write


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


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (cut, "is truncated or not a NumPy file"),
        (spoil_header, "is truncated or not a NumPy file"),
        (pickled, "is truncated or not a NumPy file"),
        (lambda path: path.write_bytes(b""), "is truncated or not a NumPy file"),
        (other_shape, "unlike cache.json"),
        (other_dtype, "unlike cache.json"),
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
    with pytest.raises(ArtefactError, match=r"cache\.json: has format 99, .* 2"):
        open_logit_cache(tmp_path, key)


def test_views_that_are_not_packed_are_none_and_packed_ones_that_are_lost_are_refused(
    data, tmp_path
):
    write(tmp_path / "plain", data)
    assert open_packed_views(tmp_path / "plain") is None
    write(tmp_path / "packed", data, pack_views=True)
    for harm, message in (
        (cut, "is truncated"),
        (other_shape, "unlike"),
        (Path.unlink, "missing"),
    ):
        harm(tmp_path / "packed" / "views.npy")
        with pytest.raises(ArtefactError, match=message) as caught:
            open_packed_views(tmp_path / "packed")
        assert caught.value.path == tmp_path / "packed" / "views.npy"
        write(tmp_path / "packed", data, pack_views=True)


def test_a_cache_of_nothing_is_no_cache_of_logits(data, tmp_path):
    key = key_of(data)
    write_empty_cache(tmp_path, source(data))
    assert [path.name for path in tmp_path.iterdir()] == ["cache.json"]
    assert read_cache(tmp_path, key, 0)["shape"][0] == 0
    with pytest.raises(ArtefactError, match=r"cache\.json: holds no logits: .*views = 0; set"):
        open_logit_cache(tmp_path, key)


def test_a_cache_of_another_number_of_views_is_refused(data, tmp_path):
    key = key_of(data)
    write_empty_cache(tmp_path / "none", source(data))
    with pytest.raises(ArtefactError, match=r"cache_logits\.views = 0, .*8"):
        read_cache(tmp_path / "none", key, 8)
    write(tmp_path / "three", data, views=3)
    assert read_cache(tmp_path / "three", key, 3)["shape"][0] == 3
    for views in (0, 2):
        with pytest.raises(ArtefactError, match=rf"views = 3, .*{views}"):
            read_cache(tmp_path / "three", key, views)


@pytest.mark.parametrize("change", ["teacher", "data", "views"])
def test_a_cache_of_nothing_is_refused_for_something_else_too(data, tmp_path, change):
    key = key_of(data)
    write_empty_cache(tmp_path, source(data))
    with pytest.raises(ArtefactError, match="was made from"):
        read_cache(tmp_path, replace(key, **{change: "b"}), 0)
