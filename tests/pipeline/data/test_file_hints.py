import pytest
from PIL import Image

from pipeline.data.decoding import decode
from pipeline.data.file_hints import remark_on_files, told_by
from pipeline.data.sources import Sample


@pytest.mark.parametrize(
    ("features", "labels", "told"),
    [
        ("aabb", (0, 0, 1, 1), 1.0),
        ("aaaa", (0, 0, 0, 1), 0.75),
        ("aaaa", (0, 0, 1, 1), 0.0),  # without the image itself, the other class is larger
        ("abcd", (0, 0, 0, 1), 0.75),  # like no other: the largest class
    ],
)
def test_an_image_is_judged_by_the_others_alike(features, labels, told):
    assert told_by(features, labels) == told


def remark(tmp_path, size_of, suffix_of):
    samples = []
    for number in range(60):
        label = number % 3
        path = tmp_path / f"{number}{suffix_of(label)}"
        Image.new("RGB", size_of(label, number), (number, 9, 9)).save(path)
        samples.append(Sample(path, path.name, label))
    return remark_on_files(decode(samples, tmp_path / "work", image_size=16, fit="crop", workers=1))


def test_classes_of_different_sources_are_remarked(tmp_path):
    text = remark(tmp_path, lambda label, _: (20 + label, 20), lambda _: ".png")
    assert "100%" in text
    assert "33%" in text


def test_formats_count_as_well(tmp_path):
    assert remark(tmp_path, lambda *_: (20, 20), lambda label: (".png", ".jpg", ".bmp")[label])


def test_sizes_that_do_not_depend_on_the_class_are_not_remarked(tmp_path):
    assert not remark(tmp_path, lambda _, number: (20 + number // 3 % 4, 20), lambda _: ".png")
