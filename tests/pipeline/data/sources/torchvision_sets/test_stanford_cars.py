import pytest

from pipeline.errors import DataError

CLASSES = ["AM General Hummer SUV 2000", "Acura RL Sedan 2012", "Acura TL Sedan 2012"]


@pytest.fixture
def published(tmp_path, put_photos, put_matlab):
    base = tmp_path / "stanford_cars"
    put_matlab(base / "devkit/cars_meta.mat", class_names=CLASSES)
    for split, table in (
        ("train", "devkit/cars_train_annos.mat"),
        ("test", "cars_test_annos_withlabels.mat"),
    ):
        names = [f"0000{row}.jpg" for row in (1, 2, 3)]
        boxes = {corner: [30, 40, 50] for corner in ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")}
        put_matlab(base / table, annotations={**boxes, "class": [2, 3, 1], "fname": names})
        put_photos(base / f"cars_{split}", *names)
    return tmp_path


def test_classes_and_splits_are_as_published(published, listed):
    assert listed("stanford_cars", published) == [
        (f"stanford_cars/cars_{split}/0000{row}.jpg", CLASSES[label], split)
        for split in ("train", "test")
        for row, label in ((1, 1), (2, 2), (3, 0))
    ]


def test_a_class_that_has_no_name_is_refused(published, listed, put_matlab):
    table = published / "stanford_cars/cars_test_annos_withlabels.mat"
    put_matlab(table, annotations={"class": [1, 4], "fname": ["00001.jpg", "00002.jpg"]})
    with pytest.raises(DataError, match=r"withlabels\.mat: '4' is not a number from 1 to 3"):
        listed("stanford_cars", published)


@pytest.mark.parametrize("download", [False, True])
def test_a_missing_data_set_is_refused_with_a_remedy(tmp_path, listed, download):
    with pytest.raises(DataError, match="put the published files of StanfordCars there"):
        listed("stanford_cars", tmp_path, download=download)


def test_download_has_no_effect_if_the_data_set_exists(published, listed):
    assert len(listed("stanford_cars", published, download=True)) == 6
