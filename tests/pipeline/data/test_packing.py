import json
from dataclasses import replace

import numpy as np
import pytest
from finch_runtime.fit import FITS
from finch_runtime.images import load_image
from PIL import Image

from pipeline.data.decoding import decode
from pipeline.data.prepared import open_prepared, select_images
from pipeline.data.sources import SPLITS
from pipeline.errors import ArtifactError

SIZE = 16


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("fit", FITS)
def test_packed_pixels_equal_those_of_the_device_runtime(prepare, source, split, fit):
    data = prepare(fit=fit)
    for name in SPLITS:
        part = open_prepared(data.folder).split(name)
        assert len(part) == len(split[name])
        for image, label, index in zip(part.images, part.labels, split[name], strict=True):
            assert np.array_equal(image, load_image(source.samples[index].path, SIZE, fit))
            assert label == source.samples[index].label


@pytest.mark.parametrize("fit", FITS)
def test_every_size_is_scaled_from_the_file_as_on_the_device(prepare, source, split, fit):
    data = open_prepared(prepare(fit=fit, other_sizes=(9, 12)).folder)
    for name in SPLITS:
        for size in (9, 12):
            part = data.split(name, size)
            for image, index in zip(part.images, split[name], strict=True):
                expected = load_image(source.samples[index].path, size, fit)
                assert np.array_equal(image, expected)
            assert np.array_equal(np.load(data.images_path(name, size)), part.images)


@pytest.mark.parametrize("fit", FITS)
def test_rectangles_are_scaled_from_the_file_as_on_the_device(prepare, source, split, fit):
    sizes = [(20, 30), (9, 14)]
    data = prepare(fit=fit, image_size=sizes[0], other_sizes=sizes[1:], aspect_ratio=1.5)
    data = open_prepared(data.folder)
    assert [data.size_at(height) for height in (None, 20, 9)] == [sizes[0], *sizes]
    for size in sizes:
        part = data.split("train", size)
        assert part.images.shape == (4, *size, 3)
        for image, index in zip(part.images, split["train"], strict=True):
            assert np.array_equal(image, load_image(source.samples[index].path, size, fit))
    assert data.images_path("train", sizes[1]).name == "images_9x14.npy"
    with pytest.raises(ArtifactError, match="has no train images of 9 px"):
        data.split("train", 9)
    value = json.loads((data.folder / "dataset.json").read_text("utf-8"))
    assert (value["image_size"], value["aspect_ratio"]) == (20, 1.5)


def test_squares_are_described_as_before_there_were_rectangles(prepare):
    value = json.loads((prepare().folder / "dataset.json").read_text("utf-8"))
    assert "aspect_ratio" not in value and value["image_size"] == SIZE


def test_gray_images_have_one_channel_as_on_the_device(prepare, source, split):
    data = open_prepared(prepare(fit="pad", other_sizes=(9,), channels=1).folder)
    assert data.channels == 1
    for size in (SIZE, 9):
        part = data.split("train", size)
        assert part.images.shape == (4, size, size, 1)
        for image, index in zip(part.images, split["train"], strict=True):
            path = source.samples[index].path
            assert np.array_equal(image, load_image(path, size, "pad", channels=1))


def test_further_sizes_only_add_files(prepare):
    one, several = prepare(folder="one"), prepare(folder="several", other_sizes=(9,))
    before, after = contents(one.folder), contents(several.folder)
    added = {f"{name}/images_9.npy" for name in SPLITS}
    assert after.keys() - before.keys() == added
    assert all(after[file] == before[file] for file in before if file != "dataset.json")
    assert one.fingerprint != several.fingerprint
    for name in SPLITS:
        small, large = several.split(name, 9), several.split(name)
        assert np.array_equal(small.labels, large.labels)
        assert np.array_equal(small.groups, large.groups)


def test_packed_pixels_equal_those_of_pillow(prepare, source, split):
    part = prepare(fit="stretch").split("train")
    for image, index in zip(part.images, split["train"], strict=True):
        with Image.open(source.samples[index].path) as sample:
            square = sample.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        assert np.array_equal(image, np.asarray(square))


def test_files_are_plain_arrays_and_text(prepare, tmp_path):
    data = prepare()
    images = np.load(data.images_path("val"), allow_pickle=False)
    assert (images.dtype, images.shape) == (np.uint8, (2, SIZE, SIZE, 3))
    names = (tmp_path / "prepared/val/names.txt").read_text("utf-8").splitlines()
    assert names == ["фото/1.png", "фото/6.png"]
    assert isinstance(data.split("val").images, np.memmap)
    assert data.split("val").labels.dtype == np.int64
    info = json.loads((tmp_path / "prepared/dataset.json").read_text("utf-8"))
    assert info["splits"]["train"]["per_class"] == [2, 2]
    assert (info["license"], info["classes"], info["fit"]) == ("CC0", ["cat", "dog"], "crop")
    assert (data.classes, data.image_size) == (("cat", "dog"), SIZE)


def test_packing_again_with_other_workers_gives_the_same_bytes(prepare):
    one = prepare(folder="one", workers=1)
    two = prepare(folder="two", workers=2)
    again = prepare(folder="one", workers=2)
    assert contents(one.folder) == contents(two.folder) == contents(again.folder)


def test_progress_counts_every_image_once(prepare):
    told = []

    def track(items, description, total=None):
        for item in items:
            told.append((description, total))
            yield item

    prepare(track=track)
    assert told == [("packing", 8)] * 8


def test_an_image_without_a_split_is_left_out(prepare, source):
    data = prepare(splits={"train": [7, 1], "val": [2], "test": []})
    train = data.split("train")
    assert np.array_equal(train.images[0], load_image(source.samples[7].path, SIZE, "crop"))
    assert [len(data.split(name)) for name in SPLITS] == [2, 1, 0]


def test_the_audit_counts_are_stored_but_not_in_the_fingerprint(prepare):
    plain, audited = prepare(), prepare(audit={"bad": 3})
    assert audited.fingerprint == plain.fingerprint
    assert open_prepared(audited.folder).info.audit == {"bad": 3}


def test_the_fingerprint_depends_on_everything_that_matters(prepare, source, split, tmp_path):
    seen = {prepare().fingerprint}

    def differs(data):
        assert data.fingerprint == open_prepared(data.folder).fingerprint
        assert data.fingerprint not in seen
        seen.add(data.fingerprint)

    def with_photo(index, **changes):
        samples = list(source.samples)
        samples[index] = replace(samples[index], **changes)
        return replace(source, samples=tuple(samples))

    differs(prepare(replace(source, classes=("cat", "hound"))))
    differs(prepare(replace(source, classes=("dog", "cat"))))
    differs(prepare(with_photo(5, label=0)))
    differs(prepare(splits={**split, "train": [3, 0, 4, 7]}))
    differs(prepare(splits={**split, "val": [2, 6], "test": [1, 5]}))
    differs(prepare(fit="stretch"))
    differs(prepare(channels=1))
    pixels = np.full((SIZE, SIZE, 3), 7, dtype=np.uint8)
    for value in (7, 8):
        pixels[3, 4, 1] = value
        path = tmp_path / f"{value}.png"
        Image.fromarray(pixels).save(path)
        differs(prepare(with_photo(0, path=path)))
    assert prepare().fingerprint in seen


def test_a_failed_pack_keeps_the_old_folder_and_leaves_no_partial_files(prepare, tmp_path):
    def track(items, description, total=None):
        for number, item in enumerate(items):
            if number == 5:
                raise OSError("the disk is full")
            yield item

    kept = contents(prepare().folder)
    with pytest.raises(OSError, match="full"):
        prepare(fit="stretch", track=track)
    assert contents(tmp_path / "prepared") == kept
    assert {p.name for p in tmp_path.iterdir()} == {"samples", "prepared", "work"}


def test_groups_are_stored_by_number(prepare, source, split):
    names = ["a", None, "b", "a", "b", None, "b", "a"]
    samples = [replace(s, group=name) for s, name in zip(source.samples, names, strict=True)]
    data = prepare(replace(source, samples=tuple(samples)))
    train, test = (open_prepared(data.folder).split(name) for name in ("train", "test"))
    zero, three, four, seven = train.groups  # groups a, a, b, a
    assert zero == three == seven != four
    assert test.groups.tolist() == [four, test.groups[1]]  # groups b and none
    assert test.groups[1] not in train.groups
    assert train.select(np.array([2, 0])).groups.tolist() == [four, zero]


def test_images_without_labels_only_add_a_folder(prepare, source, split, tmp_path):
    """The same drawn images serve as images without labels."""
    decoded = decode(source.samples, tmp_path / "others", image_size=SIZE, fit="crop", workers=1)
    chosen = decoded.select([6, 0, 3])
    plain = prepare(folder="plain", other_sizes=(9,))
    more = open_prepared(prepare(folder="more", other_sizes=(9,), unlabelled=chosen).folder)
    before, after = contents(plain.folder), contents(more.folder)
    assert b"unlabelled" not in before["dataset.json"]
    assert after.keys() - before.keys() == {"unlabelled/images.npy", "unlabelled/names.txt"}
    assert all(after[file] == before[file] for file in before if file != "dataset.json")
    assert more.fingerprint != plain.fingerprint
    assert np.array_equal(
        more.unlabelled(),
        [load_image(source.samples[index].path, SIZE, "crop") for index in (6, 0, 3)],
    )
    names = after["unlabelled/names.txt"].decode().splitlines()
    assert names == [source.samples[index].name for index in (6, 0, 3)]
    assert plain.unlabelled().shape == (0, SIZE, SIZE, 3)
    (more.folder / "unlabelled/images.npy").write_bytes(after["train/images.npy"])
    with pytest.raises(ArtifactError, match=r"images\.npy"):
        more.unlabelled()


def test_images_are_selected_by_number():
    labelled, others = np.arange(5), 5 + np.arange(3)
    for numbers in ([], [0, 4], [5, 7], [1, 1, 4, 5, 7, 7]):
        chosen = np.array(numbers, dtype=np.int64)
        assert select_images(labelled, others, chosen).tolist() == numbers
