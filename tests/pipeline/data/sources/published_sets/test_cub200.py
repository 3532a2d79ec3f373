import pytest

from pipeline.errors import DataError

NAMES = (
    "001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg",
    "001.Black_footed_Albatross/Black_Footed_Albatross_0009_34.jpg",
    "002.Laysan_Albatross/Laysan_Albatross_0102_1006.jpg",
    "002.Laysan_Albatross/Laysan_Albatross_0027_565.jpg",
)


@pytest.fixture
def published(tmp_path, put_photos, put_text):
    put_text(tmp_path / "classes.txt", "1 001.Black_footed_Albatross\n2 002.Laysan_Albatross\n")
    # The three tables need not have one order.
    put_text(tmp_path / "images.txt", "".join(f"{n} {name}\n" for n, name in enumerate(NAMES, 1)))
    put_text(tmp_path / "image_class_labels.txt", "4 2\n3 2\n2 1\n1 1\n")
    put_text(tmp_path / "train_test_split.txt", "2 0\n1 1\n3 1\n4 0\n")
    put_photos(tmp_path / "images", *NAMES)
    return tmp_path


def test_birds_and_splits_are_as_published(published, listed):
    birds = ("Black footed Albatross", "Laysan Albatross")
    assert listed("cub200", published) == [
        (f"images/{NAMES[0]}", birds[0], "train"),
        (f"images/{NAMES[1]}", birds[0], "test"),
        (f"images/{NAMES[2]}", birds[1], "train"),
        (f"images/{NAMES[3]}", birds[1], "test"),
    ]


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("image_class_labels.txt", "1 1\n2 1\n3 3\n4 2\n", "image 3: '3'"),
        ("image_class_labels.txt", "1 1\n2 1\n4 2\n", "image 3: ''"),
        ("train_test_split.txt", "1 1\n2 0\n3 2\n4 0\n", "image 3: '2'"),
        ("images.txt", "1 ../../x.jpg\n", "is outside"),
        ("images.txt", "1 /etc/passwd\n", "is outside"),
        ("images.txt", "1\n", r"images\.txt, line 1: '1'.* 2 columns"),
        ("images.txt", "1 gone.jpg\n2 x\n", r"images\.txt, image 1: .*gone\.jpg' is not a file"),
        ("classes.txt", "1 001.A\n3 003.B\n", "classes.*consecutive from 1"),
    ],
)
def test_tables_that_are_not_as_published_are_refused(
    published, listed, put_text, file, text, problem
):
    put_text(published / file, text)
    with pytest.raises(DataError, match=problem):
        listed("cub200", published)
