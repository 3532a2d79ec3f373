import pytest

from pipeline.errors import DataError


@pytest.fixture
def published(tmp_path, put_photos, put_text):
    data = tmp_path / "fgvc-aircraft-2013b/data"
    # Not in alphabetical order, and one is the other's beginning.
    put_text(data / "variants.txt", "DC-10\n707-320\nDC-1\n")
    put_text(data / "families.txt", "DC-10\nBoeing 707\nDC-1\n")
    for number, split in enumerate(("train", "val", "test")):
        rows = [f"{number}{row} {v}" for row, v in enumerate(("DC-1", "707-320", "DC-10"))]
        put_text(data / f"images_variant_{split}.txt", "\n".join(rows) + "\n")
        put_photos(data / "images", *(f"{number}{row}.jpg" for row in range(3)))
    both = (data / "images_variant_train.txt").read_text()
    put_text(
        data / "images_variant_trainval.txt", both + (data / "images_variant_val.txt").read_text()
    )
    return tmp_path


def test_variants_and_all_three_splits_are_as_published(published, listed):
    images = "fgvc-aircraft-2013b/data/images"
    assert listed("fgvc_aircraft", published) == [
        (f"{images}/{number}{row}.jpg", variant, split)
        for number, split in enumerate(("train", "val", "test"))
        for row, variant in enumerate(("DC-1", "707-320", "DC-10"))
    ]


def test_what_is_missing_or_unknown_is_named(published, listed, put_text):
    data = published / "fgvc-aircraft-2013b/data"
    (data / "images/21.jpg").unlink()
    with pytest.raises(DataError, match=r"images/21\.jpg: is not a file"):
        listed("fgvc_aircraft", published)
    put_text(data / "images_variant_test.txt", "20 Spitfire\n")
    with pytest.raises(DataError, match=r"images_variant_test\.txt: 'Spitfire' is not in"):
        listed("fgvc_aircraft", published)
    (data / "images_variant_test.txt").unlink()
    with pytest.raises(DataError, match=r"images_variant_test\.txt: cannot be read"):
        listed("fgvc_aircraft", published)
