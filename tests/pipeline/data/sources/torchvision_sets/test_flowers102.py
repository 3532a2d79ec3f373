import hashlib

import pytest
from torchvision.datasets import Flowers102

from pipeline.errors import DataError


@pytest.fixture
def published(tmp_path, monkeypatch, put_photos, put_matlab):
    """All 102 flowers, three images of each, in an order that is not that of the numbers."""
    base = tmp_path / "flowers-102"
    labels = [(7 * row) % 102 + 1 for row in range(306)]
    put_photos(base / "jpg", *(f"image_{number:05}.jpg" for number in range(1, 307)))
    put_matlab(base / "imagelabels.mat", labels=[labels])
    put_matlab(
        base / "setid.mat",
        trnid=[list(range(306, 204, -1))],
        valid=[list(range(1, 103))],
        tstid=[list(range(103, 205))],
    )
    sums = {"image": Flowers102._file_dict["image"]}
    for key, name in (("label", "imagelabels.mat"), ("setid", "setid.mat")):
        sums[key] = (name, hashlib.md5((base / name).read_bytes()).hexdigest())
    monkeypatch.setattr(Flowers102, "_file_dict", sums)
    return tmp_path


def test_images_classes_and_splits_are_those_of_torchvision(published, listed):
    expected = []
    for split in ("train", "val", "test"):
        theirs = Flowers102(published, split)
        for path, label in zip(theirs._image_files, theirs._labels, strict=True):
            name = path.relative_to(published).as_posix()
            expected.append((name, Flowers102.classes[label], split))
    assert listed("flowers102", published) == expected
    assert expected[0][0] == "flowers-102/jpg/image_00306.jpg"


def test_tables_that_are_not_the_published_ones_are_refused(published, listed):
    with (published / "flowers-102/setid.mat").open("ab") as file:
        file.write(b" ")
    with pytest.raises(DataError, match=r"Flowers102 cannot be read.*corrupted"):
        listed("flowers102", published)
