from pathlib import Path

import pytest

from pipeline.data.sources.checks import is_file, refuse_unusable
from pipeline.data.sources.photos import Photo, Source
from pipeline.errors import DataError


def drawn() -> bytes:
    return b"P6 1 1 255\n\0\0\0"


def source(classes, *names):
    photos = [
        Photo(Path("nowhere"), name, label, content=drawn) for label, name in enumerate(names)
    ]
    return Source("made", classes, tuple(photos), licence="none", origin="here")


def test_a_photograph_that_is_drawn_needs_no_file_and_any_other_one_does(tmp_path):
    made = source(("a", "b"), "a/1", "b/1")
    refuse_unusable(made)
    lost = Photo(tmp_path / "lost.png", "lost.png", 0)
    with pytest.raises(DataError, match=r"lost\.png: is no file"):
        refuse_unusable(Source("made", ("a", "b"), (*made.photos, lost), "none", "here"))


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (source(("a", "A"), "1", "2"), "classes 'a' and 'A' differ only in case"),
        (source(("straße", "STRASSE"), "1", "2"), "differ only in case"),
        (source(("a", "b"), "1"), "class 'b': has no photographs"),
        (source(("a",), "1"), "has 1 class"),
        (source(("a", "b\udce9"), "1", "2"), "is not UTF-8"),
        (source(("a", "b"), "1", "2\udce9"), "is not UTF-8"),
    ],
)
def test_what_no_source_may_deliver_is_refused_in_a_message_that_can_be_printed(made, said):
    with pytest.raises(DataError) as caught:
        refuse_unusable(made)
    assert said in str(caught.value)
    str(caught.value).encode()


@pytest.mark.parametrize("name", ["gone", "x" * 300, "a\0b", "."])
def test_names_that_no_file_could_have_are_no_files(tmp_path, name):
    assert not is_file(tmp_path / name)
