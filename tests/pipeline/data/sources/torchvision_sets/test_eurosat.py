import pytest

from pipeline.errors import DataError


def test_classes_are_folders_and_images_follow_their_numbers(tmp_path, listed, put_photos):
    put_photos(tmp_path / "eurosat/2750", *(f"River/River_{n}.jpg" for n in (1, 2, 10, 100)))
    put_photos(tmp_path / "eurosat/2750", "AnnualCrop/AnnualCrop_3.jpg")
    assert listed("eurosat", tmp_path) == [
        ("eurosat/2750/AnnualCrop/AnnualCrop_3.jpg", "AnnualCrop", None),
        *((f"eurosat/2750/River/River_{n}.jpg", "River", None) for n in (1, 2, 10, 100)),
    ]


def test_an_empty_class_is_refused_by_name(tmp_path, listed, put_photos):
    put_photos(tmp_path / "eurosat/2750", "River/River_1.jpg")
    (tmp_path / "eurosat/2750/Forest").mkdir()
    with pytest.raises(DataError, match="Forest"):
        listed("eurosat", tmp_path)
