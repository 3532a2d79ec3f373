from pathlib import Path

from pipeline.data.sources.base import Sample
from pipeline.data.sources.versions import group_versions

HASHES = ("0a1b2c3d4e5f60718293a4b5c6d7e8f9", "ffeeddccbbaa99887766554433221100")


def grouped(*names, group=None):
    samples = [Sample(Path(name), name, 0, group=group) for name in names]
    return [sample.group for sample in group_versions(samples)]


def test_exported_versions_of_one_image_are_a_group():
    first, second = (f"a/IMG_1_jpg.rf.{digest}.jpg" for digest in HASHES)
    groups = grouped(first, second, f"a/IMG_2_jpg.rf.{HASHES[0]}.jpg")
    assert groups[0] == groups[1] != groups[2]


def test_equal_names_in_other_folders_are_other_images():
    a, b = (f"{folder}/1_png.rf.{HASHES[0]}.png" for folder in "ab")
    assert len(set(grouped(a, b))) == 2


def test_other_names_have_no_group():
    assert grouped("a/1.jpg", "a/x.rf.2.jpg") == [None, None]


def test_a_group_of_the_source_is_kept():
    assert grouped(f"a/1_jpg.rf.{HASHES[0]}.jpg", group="day 1") == ["day 1"]
