from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.audit import examine
from pipeline.data.decoding import decode
from pipeline.data.sources import ImageDataset, Sample
from pipeline.data.sources.unlabelled import read_unlabelled, unlabelled_files
from pipeline.data.unlabelled import audit_unlabelled, check_unlabelled
from pipeline.errors import DataError
from pipeline.params import Prepare

SPLITS = {"train": [0, 1], "val": [2, 4], "test": [3]}


def picture(seed):
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (20, 25, 3), dtype=np.uint8))
    return coarse.resize((100, 80), Image.Resampling.BICUBIC)


def save(image, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


@pytest.fixture
def dataset(tmp_path):
    """Four photographs and one of a single color, which is in the validation split."""
    folder = tmp_path / "photos"
    for number in range(4):
        save(picture(number), folder / "cat" / f"{number}.png")
    save(Image.new("RGB", (90, 90), "gray"), folder / "cat" / "4.png")
    paths = sorted((folder / "cat").iterdir())
    samples = tuple(Sample(path, f"cat/{path.name}", 0) for path in paths)
    return ImageDataset("drawn", ("cat", "dog"), samples, "CC0", "here")


@pytest.fixture
def field(tmp_path):
    """Three photographs without labels, in nested folders."""
    for number, name in enumerate(("10.jpg", "monday/11.jpg", "monday/pond/12.png")):
        save(picture(10 + number), tmp_path / "field" / name)
    return tmp_path / "field"


def read(dataset, folder):
    return read_unlabelled(Prepare(unlabelled=str(folder)), dataset)


def audited(dataset, folder, tmp_path, near_distance=16):
    samples = [*dataset.samples, *read(dataset, folder).samples]
    decoded = decode(samples, tmp_path / "work", image_size=32, fit="crop", workers=1)
    count = len(dataset.samples)
    known = examine(dataset, decoded.select(range(count)), near_distance=near_distance)
    others = decoded.select(range(count, len(samples)))
    return audit_unlabelled(others, replace(known, splits=SPLITS))


def names(samples):
    return [sample.name for sample in samples]


def test_images_at_any_depth_are_listed_and_others_are_counted(dataset, field):
    (field / "notes.txt").write_text("none")
    (field / "monday" / "13.cr2").write_bytes(b"raw")
    (field / "Thumbs.db").write_bytes(b"none")
    listed = read(dataset, field)
    assert names(listed.samples) == ["10.jpg", "monday/11.jpg", "monday/pond/12.png"]
    assert names(listed.unread) == ["monday/13.cr2"]
    assert unlabelled_files(Prepare(unlabelled=str(field))) == (field,)


def test_without_a_folder_there_are_no_images(dataset):
    assert read_unlabelled(Prepare(), dataset).samples == ()
    assert unlabelled_files(Prepare()) == ()


def refusal(dataset, folder):
    with pytest.raises(DataError) as caught:
        read(dataset, folder)
    assert "prepare.unlabelled" in str(caught.value)
    return str(caught.value)


def test_a_folder_that_does_not_exist_or_has_no_images_is_refused(dataset, tmp_path):
    assert "is not a folder" in refusal(dataset, tmp_path / "missing")
    assert "is not a folder" in refusal(dataset, tmp_path / "photos/cat/1.png")
    with pytest.raises(DataError, match="is not a folder"):
        unlabelled_files(Prepare(unlabelled=str(tmp_path / "missing")))
    (tmp_path / "empty/below").mkdir(parents=True)
    (tmp_path / "empty/notes.txt").write_text("none")
    assert "has no image that can be read" in refusal(dataset, tmp_path / "empty")


@pytest.mark.parametrize("place", ["photos", ".", "photos/cat", "linked"])
def test_a_folder_with_labelled_images_is_refused(dataset, field, tmp_path, place):
    (tmp_path / "linked").symlink_to(tmp_path / "photos", target_is_directory=True)
    message = refusal(dataset, tmp_path / place)
    assert "images with labels, such as" in message
    assert Path("cat/0.png").name in message


def test_copies_and_near_duplicates_of_evaluation_images_are_found(dataset, field, tmp_path):
    save(picture(3), field / "again.bmp")  # equal pixels, in the test split
    save(picture(2), field / "smaller.jpg", quality=70)  # near, in the validation split
    save(picture(1), field / "train.jpg", quality=70)  # near, in the training split
    found = audited(dataset, field, tmp_path)
    assert found.leaks == [
        ("again.bmp", "cat/3.png", "test"),
        ("smaller.jpg", "cat/2.png", "val"),
    ]
    assert "train.jpg" in names(found.kept.samples)
    assert len(found.kept) == 4
    with pytest.raises(DataError) as caught:
        check_unlabelled(found, skip=False)
    message = str(caught.value)
    assert "2 of 6 images of prepare.unlabelled" in message
    assert "again.bmp = cat/3.png (test)" in message
    check_unlabelled(found, skip=True)
    # Without the search for near-duplicates, only the copy is found.
    assert audited(dataset, field, tmp_path, near_distance=0).leaks == found.leaks[:1]


def test_images_of_one_color_are_no_near_duplicates(dataset, field, tmp_path):
    save(Image.new("RGB", (90, 90), "white"), field / "white.png")
    assert audited(dataset, field, tmp_path).leaks == []


def test_copies_of_training_images_and_of_one_another_are_left_out(dataset, field, tmp_path):
    save(picture(0), field / "train.png")
    save(picture(10), field / "x.png")
    save(picture(10), field / "y.png")
    found = audited(dataset, field, tmp_path)
    assert found.copies == ["train.png", "y.png"]  # 10.jpg has other pixels
    check_unlabelled(found, skip=False)
    assert found.report() == {
        "images": 6,
        "kept": 4,
        "bad": [],
        "copies": ["train.png", "y.png"],
        "in_evaluation": [],
    }


def test_unusable_images_are_refused_or_left_out(dataset, field, tmp_path):
    (field / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    found = audited(dataset, field, tmp_path)
    assert names(sample for sample, _ in found.bad) == ["broken.jpg"]
    assert "broken.jpg" not in names(found.kept.samples)
    with pytest.raises(DataError, match=r"1 of 4 images of prepare.unlabelled.*broken.jpg"):
        check_unlabelled(found, skip=False)
    check_unlabelled(found, skip=True)


def test_a_folder_of_which_nothing_is_left_is_refused(dataset, tmp_path):
    save(picture(0), tmp_path / "field/train.png")
    found = audited(dataset, tmp_path / "field", tmp_path)
    with pytest.raises(DataError, match="all 1 images"):
        check_unlabelled(found, skip=True)
