import pytest

from pipeline.errors import DataError

ROWS = {
    "train": [
        "n02085620-Chihuahua/n02085620_5927.jpg",
        "n02085620-Chihuahua/n02085620_4441.jpg",
        "n02113978-Mexican_hairless/n02113978_1.jpg",
    ],
    "test": [
        "n02085620-Chihuahua/n02085620_2650.jpg",
        "n02113978-Mexican_hairless/n02113978_22.jpg",
    ],
}


@pytest.fixture(params=["lists", "."])
def published(request, tmp_path, put_photos, put_matlab):
    for split, rows in ROWS.items():
        put_matlab(
            tmp_path / request.param / f"{split}_list.mat",
            file_list=rows,
            annotation_list=[row.removesuffix(".jpg") for row in rows],
            labels=[[1 if "Chihuahua" in row else 2] for row in rows],
        )
        put_photos(tmp_path / "Images", *rows)
    return tmp_path


def test_breeds_and_splits_are_as_published(published, listed):
    assert listed("stanford_dogs", published) == [
        (f"Images/{row}", "Chihuahua" if "Chihuahua" in row else "Mexican hairless", split)
        for split, rows in ROWS.items()
        for row in rows
    ]


def test_lists_that_are_not_as_published_are_refused(tmp_path, listed, put_matlab):
    for split, rows in ROWS.items():
        put_matlab(tmp_path / f"{split}_list.mat", file_list=rows, labels=[[3]] * len(rows))
    with pytest.raises(DataError, match="numbers are not consecutive from 1"):
        listed("stanford_dogs", tmp_path)
    put_matlab(tmp_path / "train_list.mat", files=ROWS["train"])
    with pytest.raises(DataError, match=r"train_list\.mat: .*'file_list'"):
        listed("stanford_dogs", tmp_path)
    (tmp_path / "train_list.mat").write_bytes(b"\0" * 300)
    with pytest.raises(DataError, match=r"train_list\.mat: is not a MATLAB file"):
        listed("stanford_dogs", tmp_path)
