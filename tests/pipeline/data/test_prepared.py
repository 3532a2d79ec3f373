import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest

from pipeline.data.prepared import open_prepared
from pipeline.errors import ArtifactError
from pipeline.files import write_json

SIZE = 16


@pytest.mark.parametrize("file", ["images.npy", "labels.npy", "groups.npy"])
@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_truncated_array_is_refused_by_name(prepare, file, keep):
    path = prepare().folder / "val" / file
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ArtifactError, match="truncated") as caught:
        open_prepared(path.parents[1]).split("val")
    assert caught.value.path == path


@pytest.mark.parametrize("file", ["images.npy", "labels.npy", "groups.npy"])
def test_a_missing_array_is_refused_and_the_other_splits_can_be_read(prepare, file):
    data = prepare()
    (data.folder / "test" / file).unlink()
    with pytest.raises(ArtifactError, match="is missing") as caught:
        data.split("test")
    assert caught.value.path == data.folder / "test" / file
    assert len(data.split("train")) == 4


@pytest.mark.parametrize("file", ["images.npy", "labels.npy", "groups.npy"])
def test_an_array_of_another_split_is_refused(prepare, file):
    data = prepare()
    shutil.copy(data.folder / "train" / file, data.folder / "val" / file)
    with pytest.raises(ArtifactError, match="expected") as caught:
        data.split("val")
    assert caught.value.path == data.folder / "val" / file


def test_an_array_of_another_type_is_refused(prepare):
    data = prepare()
    np.save(data.images_path("val"), np.zeros((2, SIZE, SIZE, 3), dtype=np.float32))
    with pytest.raises(ArtifactError, match="is float32"):
        data.split("val")


def test_a_pickled_array_is_refused_and_not_executed(prepare, tmp_path):
    class Attack:
        def __reduce__(self):
            return (tmp_path.joinpath("mark").mkdir, ())

    data = prepare()
    path = data.folder / "val" / "labels.npy"
    np.save(path, np.array([Attack(), Attack()], dtype=object), allow_pickle=True)
    with pytest.raises(ArtifactError) as caught:
        data.split("val")
    assert caught.value.path == path
    assert not (tmp_path / "mark").exists()


def test_an_image_size_that_is_not_packed_is_refused(prepare):
    data = prepare(other_sizes=(9,))
    assert data.split("val", 9).images.shape[1:] == (9, 9, 3)
    with pytest.raises(ArtifactError, match="has no val images of 10 px; run `finch prepare`"):
        data.split("val", 10)


def test_a_changed_value_of_a_further_size_is_refused(prepare):
    data = prepare(other_sizes=(9,))
    path = data.images_path("val", 9)
    array = np.load(path)
    array.flat[-1] += 1
    np.save(path, array)
    with pytest.raises(ArtifactError, match="was changed") as caught:
        data.split("val", 9)
    assert caught.value.path == path
    assert len(data.split("val")) == 2


def test_a_missing_folder_and_another_format_are_refused(prepare, tmp_path):
    with pytest.raises(ArtifactError, match=r"dataset\.json: is missing"):
        open_prepared(tmp_path / "none")
    description = prepare().folder / "dataset.json"
    description.write_text(json.dumps(json.loads(description.read_text()) | {"format": 99}))
    with pytest.raises(ArtifactError, match="format 99, expected 2"):
        open_prepared(description.parent)


def test_the_names_are_those_of_the_images(prepare):
    data = prepare()
    path = data.folder / "val/names.txt"
    names = data.names("val")
    assert names == path.read_text(encoding="utf-8").splitlines()
    assert len(names) == len(data.split("val"))
    path.write_text("\n".join([*names, "one.png", ""]), encoding="utf-8")
    with pytest.raises(ArtifactError, match="was changed"):
        data.names("val")
    path.unlink()
    with pytest.raises(ArtifactError, match="is missing"):
        data.names("val")


@pytest.mark.parametrize("file", ["images.npy", "labels.npy", "groups.npy"])
def test_a_changed_value_is_refused(prepare, file):
    data = prepare()
    path = data.folder / "val" / file
    array = np.load(path)
    array.flat[-1] += 1
    np.save(path, array)
    with pytest.raises(ArtifactError, match="was changed") as caught:
        open_prepared(data.folder).split("val")
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("classes", ["cat", "wolf"], "fingerprint"),
        ("license", "mine", "fingerprint"),
        ("fingerprint", "ab" * 32, "fingerprint"),
        ("classes", [], "classes"),
        ("image_size", 0, "image_size"),
        ("image_size", float("nan"), "JSON"),
        ("splits", None, "splits"),
        ("splits", {"train": {"images": -1, "per_class": [], "files": {}}}, "images"),
    ],
)
def test_a_changed_description_is_refused(prepare, key, value, message):
    path = prepare().folder / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(ArtifactError, match=message):
        open_prepared(path.parent)


def test_a_missing_key_of_the_description_is_named(prepare):
    path = prepare().folder / "dataset.json"
    value = json.loads(path.read_text())
    del value["splits"]
    path.write_text(json.dumps(value))
    with pytest.raises(ArtifactError, match="splits"):
        open_prepared(path.parent)


def test_a_description_without_a_split_is_refused(prepare):
    data = prepare()
    del data.info.splits["val"]
    changed = replace(data.info, fingerprint=data.info.compute_fingerprint())
    write_json(data.folder / "dataset.json", asdict(changed))
    with pytest.raises(ArtifactError, match=r"dataset\.json: has no split 'val'"):
        open_prepared(data.folder).split("val")
