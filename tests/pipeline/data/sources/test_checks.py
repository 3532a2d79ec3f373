from pathlib import Path

import pytest

from pipeline.data.sources import ImageDataset, Sample, check_dataset
from pipeline.data.sources.base import is_file
from pipeline.errors import DataError


def drawn() -> bytes:
    return b"P6 1 1 255\n\0\0\0"


def source(classes, *names):
    samples = [
        Sample(Path("nowhere"), name, label, content=drawn) for label, name in enumerate(names)
    ]
    return ImageDataset("made", classes, tuple(samples), license="none", origin="here")


def test_a_sample_needs_a_file_unless_it_has_content(tmp_path):
    made = source(("a", "b"), "a/1", "b/1")
    check_dataset(made)
    lost = Sample(tmp_path / "lost.png", "lost.png", 0)
    with pytest.raises(DataError, match=r"lost\.png: is not a file"):
        check_dataset(ImageDataset("made", ("a", "b"), (*made.samples, lost), "none", "here"))


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        (source(("a", "A"), "1", "2"), "classes 'a' and 'A' differ only in case"),
        (source(("straße", "STRASSE"), "1", "2"), "differ only in case"),
        (source(("Grün", "Gru\u0308n"), "1", "2"), "differ only in"),
        (source(("a b", "A  b "), "1", "2"), "classes 'a b' and 'A  b ' differ only in"),
        (source(("a", "b"), "1"), "class 'b': has no images"),
        (source(()), "has no classes"),
        (source(("a",), "1"), "has 1 class"),
        (source(("a", "b\udce9"), "1", "2"), "is not UTF-8"),
        (source(("a", "b"), "1", "2\udce9"), "is not UTF-8"),
        (source(("a", "two\nlines"), "1", "2"), r"'two\nlines' is empty, or has a line break"),
        (source(("a", "b\u2028c"), "1", "2"), r"'b\u2028c' is empty, or has a line break"),
        (source(("a", "  "), "1", "2"), "'  ' is empty"),
        (source(("a", "b"), "1", "2\r.png"), r"'2\r.png' is empty, or has a line break"),
    ],
)
def test_unusable_data_sets_are_refused_with_a_printable_message(made, problem):
    with pytest.raises(DataError) as caught:
        check_dataset(made)
    assert problem in str(caught.value)
    str(caught.value).encode()


@pytest.mark.parametrize("name", ["gone", "x" * 300, "a\0b", "."])
def test_is_file_accepts_impossible_names(tmp_path, name):
    assert not is_file(tmp_path / name)
