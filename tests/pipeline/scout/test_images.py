import numpy as np
import pytest
from PIL import Image

from pipeline.data.prepared import open_prepared
from pipeline.errors import DataError
from pipeline.params import Prepare
from pipeline.scout.images import find_images
from tests.prepared_data import write_prepared
from tests.small_project import CLASSES, write_photos


def of_folder(folder, **options):
    return Prepare(source="folder", path=str(folder), **options)


@pytest.fixture
def prepared(tmp_path):
    """Prepared data with bright training images and a dark test image."""
    splits, folder = {}, tmp_path / "prepared"
    for name, count, level in (("train", 50, 200), ("val", 1, 100), ("test", 1, 0)):
        images = np.random.default_rng(0).integers(0, 50, (count, 24, 24, 3)) + level
        splits[name] = (images, np.zeros(count, dtype=np.int64))
    return write_prepared(folder, ["a", "b", "c"], splits).folder


def test_prepared_images_are_unchanged_at_their_size_and_resized_to_others(prepared, tmp_path):
    found = find_images(prepared, of_folder(tmp_path / "gone"))
    assert (found.source, found.classes) == ("here", 3)
    packed = open_prepared(prepared).split("train").images
    own = found.at(24)
    assert np.array_equal(own[0], packed[0]) and np.array_equal(own[-1], packed[-1])
    assert all(any(np.array_equal(image, one) for one in packed) for image in own)
    larger = found.at(40)
    assert larger.shape == (len(own), 40, 40, 3) and larger.dtype == np.uint8
    expected = Image.fromarray(packed[0]).resize((40, 40), Image.Resampling.BILINEAR)
    assert np.array_equal(larger[0], np.asarray(expected))


def test_without_prepared_data_the_images_of_the_source_are_read(tmp_path):
    write_photos(tmp_path / "photos", per_class=12)
    found = find_images(tmp_path / "none", of_folder(tmp_path / "photos"))
    assert found.classes == len(CLASSES)
    images = found.at(32)
    assert images.shape[1:] == (32, 32, 3)
    assert len({image.tobytes() for image in images}) == len(images) > 16


def test_gray_images_have_one_channel_from_the_source_and_when_prepared(prepared, tmp_path):
    write_photos(tmp_path / "photos", per_class=2)
    for folder in (tmp_path / "none", prepared):
        images = find_images(folder, of_folder(tmp_path / "photos", channels=1, fit="pad")).at(32)
        assert images.shape[1:] == (32, 32, 1)


def test_rectangles_from_the_source_and_when_prepared(prepared, tmp_path):
    write_photos(tmp_path / "photos", per_class=2)
    for folder in (tmp_path / "none", prepared):
        found = find_images(folder, of_folder(tmp_path / "photos", aspect_ratio=1.5))
        assert found.size_at(32) == (32, 48)
        assert found.at(32).shape[1:] == (32, 48, 3)


def test_the_published_test_split_is_not_read(tmp_path):
    for split, level in (("train", 200), ("val", 200), ("test", 0)):
        for label in "ab":
            (tmp_path / "photos" / split / label).mkdir(parents=True)
            image = Image.new("RGB", (20, 20), (level, level, level))
            image.save(tmp_path / "photos" / split / label / f"{split}-{label}.png")
    found = find_images(tmp_path / "none", of_folder(tmp_path / "photos"))
    assert found.at(16).min() == 200


def test_damaged_images_are_skipped_unless_all_are_damaged(tmp_path):
    photos = tmp_path / "photos"
    write_photos(photos, per_class=2)
    files = sorted(photos.rglob("*.png"))
    files[0].write_bytes(files[0].read_bytes()[:60])
    assert len(find_images(tmp_path / "none", of_folder(photos)).at(16)) == len(files) - 1
    for file in files:
        file.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"source 'folder'.*finch prepare"):
        find_images(tmp_path / "none", of_folder(photos))


def test_a_missing_source_is_an_error(tmp_path):
    with pytest.raises(DataError, match="gone"):
        find_images(tmp_path / "none", of_folder(tmp_path / "gone"))
