from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.data.sources import ImageDataset, Sample, read_source
from pipeline.data.sources.grouping import group_by_capture, group_by_folder
from pipeline.errors import DataError
from pipeline.params import Prepare

CLASSES = ("robin", "wren")


def images(names, labels):
    samples = [Sample(Path(n), n, label) for n, label in zip(names, labels, strict=True)]
    return ImageDataset("drawn", CLASSES, tuple(samples), "CC0", "here")


def groups(dataset):
    return [sample.group for sample in dataset.samples]


def partition(values):
    """The sets of equal values, as positions."""
    return {frozenset(i for i, v in enumerate(values) if v == value) for value in values}


def folders(names, labels):
    return groups(group_by_folder(images(names, labels))[0])


def test_the_first_folder_below_the_class_is_the_group():
    names = [
        "robin/may 3/1.jpg",
        "robin/may 3/left/2.jpg",
        "robin/may 4/3.jpg",
        "wren/may 3/4.jpg",
        "train/wren/may 4/5.jpg",
    ]
    assert folders(names, [0, 0, 0, 1, 1]) == ["may 3", "may 3", "may 4", "may 3", "may 4"]


def test_in_a_table_without_class_folders_the_folder_of_an_image_is_the_group():
    assert folders(["a/1.jpg", "a/2.jpg", "b/c/1.jpg"], [0, 1, 1]) == ["a", "a", "b/c"]


def test_a_class_folder_may_have_decomposed_characters():
    samples = (Sample(Path("a"), "Gru\u0308n/1/a.jpg", 0), Sample(Path("b"), "Rot/2/b.jpg", 1))
    dataset = ImageDataset("drawn", ("Gr\u00fcn", "Rot"), samples, "CC0", "here")
    assert groups(group_by_folder(dataset)[0]) == ["1", "2"]


def test_images_without_a_folder_are_one_group_and_remarked():
    names = ["robin/a/1.jpg", "robin/2.jpg", "wren/3.jpg", "wren/a/4.jpg", "wren/b/5.jpg"]
    grouped, remarks = group_by_folder(images(names, [0, 0, 1, 1, 1]))
    assert partition(groups(grouped)) == partition("axxab")
    assert len(remarks) == 1 and "2 of 5 images" in remarks[0] and "robin/2.jpg" in remarks[0]


def test_folders_that_do_not_exist_are_refused_with_the_remedy(tmp_path):
    for name in CLASSES:
        (tmp_path / name).mkdir()
        for number in range(4):
            Image.new("RGB", (9, 9)).save(tmp_path / name / f"{number}.png")
    with pytest.raises(DataError, match=r"group_by: folder: 8 of 8 .*robin/0\.png.*below its clas"):
        read_source(Prepare(source="folder", path=str(tmp_path), group_by="folder"))


def test_a_class_without_folders_is_refused_by_name():
    names = ["robin/a/1.jpg", "robin/b/2.jpg", "robin/b/3.jpg", "wren/4.jpg"]
    with pytest.raises(DataError, match="'wren' have no folder"):
        group_by_folder(images(names, [0, 0, 0, 1]))


HOUR, DAY = 3600, 24 * 3600


def days(times, labels=None):
    names = [f"{place}.jpg" for place in range(len(times))]
    dataset = images(names, labels or [place % 2 for place in range(len(times))])
    return group_by_capture(dataset, np.array(times, dtype=np.int64), "capture_day")


def test_images_of_one_calendar_day_are_a_group():
    start = 20_000 * DAY
    times = [start + 9 * HOUR, start + 23 * HOUR, start + 24 * HOUR, start + 8 * HOUR]
    grouped, remarks = days(times)
    assert partition(groups(grouped)) == partition("aaba")
    assert remarks == []


@given(
    st.lists(st.sampled_from([0, 1, 2, 2**40, 2**64 - 1]), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
)
def test_groups_are_the_equal_cameras_in_any_order_of_the_images(cameras, random):
    def grouped(keys):
        dataset = images([f"{key}.jpg" for key in keys], [0] * len(keys))
        return groups(group_by_capture(dataset, np.array(keys, np.uint64), "camera")[0])

    if 2 * cameras.count(0) > len(cameras):
        with pytest.raises(DataError, match="camera in their EXIF data"):
            grouped(cameras)
        return
    found = grouped(cameras)
    assert partition(found) == partition(cameras)
    order = random.sample(range(len(cameras)), len(cameras))
    assert grouped([cameras[i] for i in order]) == [found[i] for i in order]


def test_no_group_shows_a_day_or_a_camera():
    serial = 2**63 + 7
    named = groups(days([20_000 * DAY, 20_001 * DAY])[0])
    assert named == ["day 1", "day 2"]
    dataset = images(["1.jpg", "2.jpg"], [0, 1])
    keys = np.array([serial, serial], np.uint64)
    assert set(groups(group_by_capture(dataset, keys, "camera")[0])) == {"camera 1"}


def test_images_without_a_capture_time_are_one_group_and_remarked():
    grouped, remarks = days([20_000 * DAY, 0, 20_001 * DAY, 20_001 * DAY, 0, 20_000 * DAY])
    assert partition(groups(grouped)) == partition("axbbxa")
    assert len(remarks) == 1 and "2 of 6 images" in remarks[0] and "1.jpg" in remarks[0]


def test_most_images_without_a_capture_time_are_refused_with_the_remedy():
    with pytest.raises(DataError, match=r"capture_day: 3 of 4 images .*0\.jpg.*camera wrote"):
        days([0, 0, 0, 20_000 * DAY])


def test_a_class_without_capture_times_is_refused_by_name():
    with pytest.raises(DataError, match="'wren' have no capture time"):
        days([20_000 * DAY, 20_001 * DAY, 20_002 * DAY, 0], labels=[0, 0, 0, 1])
