import json

import pytest

from pipeline.errors import DataError

ROWS = {
    "train": ["apple_pie/1005649", "apple_pie/1014775", "waffles/1000372"],
    "test": ["waffles/1011328", "apple_pie/1034399"],
}


@pytest.fixture
def published(tmp_path, put_photos, put_text):
    base = tmp_path / "food-101"
    put_text(base / "meta/classes.txt", "apple_pie\nwaffles\n")
    put_text(base / "meta/labels.txt", "Apple pie\nWaffles\n")
    for split, rows in ROWS.items():
        put_text(base / f"meta/{split}.txt", "\n".join(rows))
        by_class = {
            dish: [r for r in rows if r.startswith(dish)] for dish in ("apple_pie", "waffles")
        }
        put_text(base / f"meta/{split}.json", json.dumps(by_class))
        put_photos(base / "images", *(f"{row}.jpg" for row in rows))
    return tmp_path


def test_dishes_and_splits_are_as_published(published, listed):
    assert listed("food101", published) == [
        (f"food-101/images/{row}.jpg", row.partition("/")[0], split)
        for split, rows in ROWS.items()
        for row in rows
    ]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("pears/1", r"test\.txt, line 1: 'pears' is not in classes\.txt"),
        ("waffles/../../../x", "is outside"),
        ("waffles/9", r"line \d+: .*waffles/9\.jpg' is not a file"),
    ],
)
def test_an_unusable_row_is_refused(published, listed, put_text, row, problem):
    put_text(published / "food-101/meta/test.txt", f"{row}\nwaffles/1011328\n")
    with pytest.raises(DataError, match=problem):
        listed("food101", published)
