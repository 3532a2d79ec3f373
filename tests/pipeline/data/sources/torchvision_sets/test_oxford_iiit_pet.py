import pytest

from pipeline.errors import DataError


@pytest.fixture
def published(tmp_path, put_photos, put_text):
    base = tmp_path / "oxford-iiit-pet"
    put_text(
        base / "annotations/trainval.txt",
        "Abyssinian_100 1 1 1\nAbyssinian_12 1 1 1\namerican_bulldog_7 2 2 1\nBengal_9 3 1 2\n",
    )
    put_text(
        base / "annotations/test.txt",
        "Abyssinian_2 1 1 1\namerican_bulldog_10 2 2 1\nBengal_101 3 1 2\n",
    )
    for table in ("trainval", "test"):
        lines = (base / f"annotations/{table}.txt").read_text().splitlines()
        put_photos(base / "images", *(f"{line.split()[0]}.jpg" for line in lines))
    return tmp_path


def test_breeds_and_splits_are_as_published(published, listed):
    images = "oxford-iiit-pet/images"
    assert listed("oxford_iiit_pet", published) == [
        (f"{images}/Abyssinian_100.jpg", "Abyssinian", "train"),
        (f"{images}/Abyssinian_12.jpg", "Abyssinian", "train"),
        (f"{images}/american_bulldog_7.jpg", "american bulldog", "train"),
        (f"{images}/Bengal_9.jpg", "Bengal", "train"),
        (f"{images}/Abyssinian_2.jpg", "Abyssinian", "test"),
        (f"{images}/american_bulldog_10.jpg", "american bulldog", "test"),
        (f"{images}/Bengal_101.jpg", "Bengal", "test"),
    ]


def test_a_gap_in_the_breeds_numbers_is_refused(published, listed, put_text):
    put_text(published / "oxford-iiit-pet/annotations/test.txt", "Bombay_2 5 1 3\n")
    with pytest.raises(DataError, match="numbers are not consecutive from 1"):
        listed("oxford_iiit_pet", published)


def test_a_name_that_leads_out_of_the_folder_is_refused(published, listed, put_text):
    put_text(published / "oxford-iiit-pet/annotations/test.txt", "../../secret_2 1 1 1\n")
    with pytest.raises(DataError, match=r"\.\./\.\./secret_2\.jpg' is outside"):
        listed("oxford_iiit_pet", published)
