import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from finch_runtime.images import load_image
from PIL import Image

from pipeline.data.prepared import open_prepared, pack
from pipeline.data.sources.photos import SPLITS, Photo, Source
from pipeline.errors import ArtefactError, DataError

SPLIT = {"train": [0, 3, 4, 7], "val": [1, 6], "test": [2, 5]}
SIZE = 16


@pytest.fixture
def source(tmp_path):
    """Eight drawn photographs of two classes, of odd sizes and modes."""
    rng = np.random.default_rng(0)
    photos = []
    for index in range(8):
        height, width = rng.integers(10, 60, 2)
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        path = tmp_path / "photos" / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        image.convert("L" if index == 3 else "RGB").save(path)
        photos.append(Photo(path, f"фото/{index}.png", index % 2))
    return Source("drawn", ("cat", "dog"), tuple(photos), licence="CC0", origin="here")


@pytest.fixture
def prepare(source, tmp_path):
    """Packs the photographs, by default into `prepared`."""

    def run(changed=source, splits=SPLIT, folder="prepared", fit="crop", **options):
        return pack(changed, splits, tmp_path / folder, image_size=SIZE, fit=fit, **options)

    return run


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("fit", ["crop", "stretch"])
def test_packed_pixels_are_those_that_the_device_will_see(prepare, source, fit):
    data = prepare(fit=fit)
    for name in SPLITS:
        split = open_prepared(data.folder).split(name)
        assert len(split) == len(SPLIT[name])
        for image, label, index in zip(split.images, split.labels, SPLIT[name], strict=True):
            assert np.array_equal(image, load_image(source.photos[index].path, SIZE, fit))
            assert label == source.photos[index].label


def test_packed_pixels_are_those_of_pillow(prepare, source):
    split = prepare(fit="stretch").split("train")
    for image, index in zip(split.images, SPLIT["train"], strict=True):
        with Image.open(source.photos[index].path) as photo:
            square = photo.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        assert np.array_equal(image, np.asarray(square))


def test_another_reader_finds_plain_arrays_and_names(prepare, tmp_path):
    data = prepare()
    images = np.load(data.images_path("val"), allow_pickle=False)
    assert (images.dtype, images.shape) == (np.uint8, (2, SIZE, SIZE, 3))
    names = (tmp_path / "prepared/val/names.txt").read_text("utf-8").splitlines()
    assert names == ["фото/1.png", "фото/6.png"]
    assert isinstance(data.split("val").images, np.memmap)
    assert data.split("val").labels.dtype == np.int64
    info = json.loads((tmp_path / "prepared/dataset.json").read_text("utf-8"))
    assert info["splits"]["train"]["per_class"] == [2, 2]
    assert (info["licence"], info["classes"], info["fit"]) == ("CC0", ["cat", "dog"], "crop")
    assert (data.classes, data.image_size) == (("cat", "dog"), SIZE)


def test_packing_again_with_other_workers_gives_the_same_bytes(prepare):
    one = prepare(folder="one", workers=1)
    two = prepare(folder="two", workers=2)
    again = prepare(folder="one", workers=2)
    assert contents(one.folder) == contents(two.folder) == contents(again.folder)


def test_progress_tells_of_every_photograph_once(prepare):
    told = []

    def track(items, description, total=None):
        for item in items:
            told.append((description, total))
            yield item

    prepare(track=track)
    assert told == [(f"packing {n}", len(SPLIT[n])) for n in SPLITS for _ in SPLIT[n]]


def test_the_fingerprint_changes_with_all_that_changes_a_result(prepare, source, tmp_path):
    seen = {prepare().fingerprint}

    def differs(data):
        assert data.fingerprint == open_prepared(data.folder).fingerprint
        assert data.fingerprint not in seen
        seen.add(data.fingerprint)

    def with_photo(index, **changes):
        photos = list(source.photos)
        photos[index] = replace(photos[index], **changes)
        return replace(source, photos=tuple(photos))

    differs(prepare(replace(source, classes=("cat", "hound"))))
    differs(prepare(replace(source, classes=("dog", "cat"))))
    differs(prepare(with_photo(5, label=0)))
    differs(prepare(splits={**SPLIT, "train": [3, 0, 4, 7]}))
    differs(prepare(splits={**SPLIT, "val": [2, 6], "test": [1, 5]}))
    differs(prepare(fit="stretch"))
    pixels = np.full((SIZE, SIZE, 3), 7, dtype=np.uint8)
    for value in (7, 8):
        pixels[3, 4, 1] = value
        path = tmp_path / f"{value}.png"
        Image.fromarray(pixels).save(path)
        differs(prepare(with_photo(0, path=path)))
    assert prepare().fingerprint in seen


@pytest.mark.parametrize("damage", ["truncated", "text", "missing", "folder"])
@pytest.mark.parametrize("before", [True, False])
def test_a_damaged_photograph_is_named_and_nothing_half_written(
    prepare, source, tmp_path, damage, before
):
    kept = contents(prepare().folder) if before else None
    path = source.photos[6].path
    whole = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes(whole[: len(whole) // 2] if damage == "truncated" else b"no image at all")
    with pytest.raises(DataError) as caught:
        prepare()
    assert str(caught.value).startswith(f"{path}: ")
    expected = {"photos", "prepared"} if before else {"photos"}
    assert {p.name for p in tmp_path.iterdir()} == expected
    if before:
        assert contents(tmp_path / "prepared") == kept


@pytest.mark.parametrize("file", ["images.npy", "labels.npy"])
@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_truncated_array_is_refused_by_name(prepare, file, keep):
    path = prepare().folder / "val" / file
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ArtefactError, match="truncated") as caught:
        open_prepared(path.parents[1]).split("val")
    assert caught.value.path == path


@pytest.mark.parametrize("file", ["images.npy", "labels.npy"])
def test_a_missing_array_is_refused_and_the_other_splits_can_be_read(prepare, file):
    data = prepare()
    (data.folder / "test" / file).unlink()
    with pytest.raises(ArtefactError, match="is missing") as caught:
        data.split("test")
    assert caught.value.path == data.folder / "test" / file
    assert len(data.split("train")) == 4


@pytest.mark.parametrize("file", ["images.npy", "labels.npy"])
def test_an_array_of_another_split_is_refused(prepare, file):
    data = prepare()
    shutil.copy(data.folder / "train" / file, data.folder / "val" / file)
    with pytest.raises(ArtefactError, match="expected") as caught:
        data.split("val")
    assert caught.value.path == data.folder / "val" / file


def test_an_array_of_another_type_is_refused(prepare):
    data = prepare()
    np.save(data.images_path("val"), np.zeros((2, SIZE, SIZE, 3), dtype=np.float32))
    with pytest.raises(ArtefactError, match="is float32"):
        data.split("val")


def test_an_array_that_holds_a_pickle_is_refused_and_not_run(prepare, tmp_path):
    class Attack:
        def __reduce__(self):
            return (tmp_path.joinpath("mark").mkdir, ())

    data = prepare()
    path = data.folder / "val" / "labels.npy"
    np.save(path, np.array([Attack(), Attack()], dtype=object), allow_pickle=True)
    with pytest.raises(ArtefactError) as caught:
        data.split("val")
    assert caught.value.path == path
    assert not (tmp_path / "mark").exists()


def test_a_folder_that_nobody_prepared_or_of_another_format_is_refused(prepare, tmp_path):
    with pytest.raises(ArtefactError, match=r"dataset\.json: is missing"):
        open_prepared(tmp_path / "none")
    description = prepare().folder / "dataset.json"
    description.write_text(json.dumps(json.loads(description.read_text()) | {"format": 99}))
    with pytest.raises(ArtefactError, match="has format 99, this Finch reads 1"):
        open_prepared(description.parent)
