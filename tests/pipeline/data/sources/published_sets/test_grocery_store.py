from pathlib import Path

import pytest
from PIL import Image

from pipeline.data.sources import read_source
from pipeline.errors import DataError
from pipeline.params import Prepare

CLASSES = "Class Name (str),Class ID (int),Coarse Class Name (str),Coarse Class ID (int)\n"
PUBLISHED = Path(__file__).parents[6] / "shared/data/grocery_store"


@pytest.fixture
def layout(tmp_path):
    """Two classes in the published layout: a image of each in every split."""
    (tmp_path / "classes.csv").write_text(f"{CLASSES}Golden-Delicious,0,Apple,0\nAnjou,1,Pear,1\n")
    for split in ("train", "val", "test"):
        rows = []
        for name, label in (("Apple/Golden-Delicious", 0), ("Pear/Anjou", 1)):
            path = f"{split}/Fruit/{name}/{split}_001.jpg"
            (tmp_path / path).parent.mkdir(parents=True)
            Image.new("RGB", (6, 8), (80 * label, 90, 20)).save(tmp_path / path)
            rows.append(f"{path}, {label}, {label}\n")
        (tmp_path / f"{split}.txt").write_text("".join(rows))
    return tmp_path


def read(folder):
    return read_source(Prepare(source="grocery_store", path=str(folder), split="published"))


def refusal(folder):
    with pytest.raises(DataError) as caught:
        read(folder)
    return str(caught.value)


def append(path, text):
    path.write_text(path.read_text() + text)


def test_the_published_layout_gives_fine_labels_and_splits(layout):
    source = read(layout)
    assert source.classes == ("Golden-Delicious", "Anjou")
    assert [(sample.name, sample.label, sample.split) for sample in source.samples] == [
        (f"{split}/Fruit/{name}/{split}_001.jpg", label, split)
        for split in ("train", "val", "test")
        for name, label in (("Apple/Golden-Delicious", 0), ("Pear/Anjou", 1))
    ]
    assert all(sample.path == layout / sample.name for sample in source.samples)


def test_ids_and_not_the_order_of_rows_number_the_classes(layout):
    (layout / "classes.csv").write_bytes(
        (CLASSES + "Anjou,1,Pear,1\n\nGolden-Delicious,0,Apple,0\n").replace("\n", "\r\n").encode()
    )
    assert read(layout).classes == ("Golden-Delicious", "Anjou")


@pytest.mark.parametrize(
    "name", ["../outside.jpg", "train/../../outside.jpg", "/outside.jpg", "{root}/outside.jpg"]
)
def test_a_path_outside_the_folder_is_refused_with_its_line(layout, name):
    Image.new("RGB", (4, 4)).save(layout.parent / "outside.jpg")
    name = name.format(root=layout.parent)
    append(layout / "val.txt", f"\n{name}, 0, 0\n")
    where = f"{layout / 'val.txt'}, line 4: "
    assert refusal(layout).startswith(f"{where}{str(layout / name)!r} is outside")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("{sample}, 2, 0", "label 2 is not in classes.csv"),
        ("{sample}, -1, 0", "is not `path, fine label, coarse label`"),
        ("{sample}, one, 0", "is not `path, fine label, coarse label`"),
        ("{sample}, ², 0", "is not `path, fine label, coarse label`"),
        ("{sample}", "is not `path, fine label, coarse label`"),
        ("{sample}, 0", "is not `path, fine label, coarse label`"),
        ("{sample}, 0, 0, 0", "is not `path, fine label, coarse label`"),
    ],
)
def test_a_malformed_row_is_refused_with_its_line(layout, row, problem):
    row = row.format(sample="train/Fruit/Pear/Anjou/train_001.jpg")
    append(layout / "train.txt", f"\n{row}\n")
    message = refusal(layout)
    # Line 4, with the blank one counted as an editor does.
    assert message.startswith(f"{layout / 'train.txt'}, line 4: ")
    assert problem in message


@pytest.mark.parametrize("name", ["train/none.jpg", "", "train"])
def test_a_row_of_a_missing_file_is_refused_with_its_line(layout, name):
    append(layout / "train.txt", f"{name}, 0, 0\n")
    where = f"{layout / 'train.txt'}, line 3: "
    assert refusal(layout).startswith(f"{where}{str(layout / name)!r} is not a file")


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("A,0\nB,2\n", "not consecutive from 0"),
        ("A,1\nB,2\n", "not consecutive from 0"),
        ("A,0\nB,1\nC,1\n", "line 4: class id 1 occurs twice"),
        ("A,0\nB,b\n", "line 3: "),
        ("A,0\nB\n", "line 3: "),
        ("A,0\n\nB,-1\n", "line 4: "),
        ("", "label 0 is not in classes.csv"),
        ("A,0\n", "label 1 is not in classes.csv"),
    ],
)
def test_malformed_class_names_are_refused(layout, rows, problem):
    (layout / "classes.csv").write_text(CLASSES + rows)
    assert problem in refusal(layout)


def test_a_class_without_images_is_refused_by_name(layout):
    append(layout / "classes.csv", "Conference,2,Pear,1\n")
    assert "class 'Conference': has no images" in refusal(layout)


@pytest.mark.parametrize("name", ["classes.csv", "train.txt", "val.txt", "test.txt"])
def test_a_file_of_the_layout_that_is_missing_or_no_text_is_refused_by_name(layout, name):
    text = (layout / name).read_bytes()
    (layout / name).write_bytes(b"\xff\xfe" + text)
    assert refusal(layout).startswith(f"{layout / name}: is not UTF-8 text")
    (layout / name).unlink()
    assert refusal(layout).startswith(f"{layout / name}: cannot be read (No such file")
    (layout / name).mkdir()
    assert refusal(layout).startswith(f"{layout / name}: cannot be read")


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the data set does not lie beside the project")
def test_the_published_files_are_read():
    source = read(PUBLISHED)
    assert len(source.classes) == 81
    for sample in source.samples:
        # The folder that holds a image is named after its class, or after its coarse class.
        split, *_, folder, _file = sample.name.split("/")
        assert split == sample.split
        assert folder == source.classes[sample.label]
    assert {sample.label for sample in source.samples if sample.split == "train"} == set(range(81))
