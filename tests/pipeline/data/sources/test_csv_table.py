from pathlib import Path

import pytest
from PIL import Image

from pipeline.data.sources import read_source
from pipeline.data.split import split_dataset
from pipeline.errors import DataError
from pipeline.params import Prepare


@pytest.fixture
def table(tmp_path):
    """Two images of each of two classes, and no rows yet."""
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "photos" / name)
    return tmp_path / "birds.csv"


GOOD = "path,label\nphotos/a/1.png,wren\nphotos/b/1.png,robin\n"


def read(table, text, **options):
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_source(Prepare(source="csv", path=str(table), **options))


def refusal(table, text):
    with pytest.raises(DataError) as caught:
        read(table, text)
    return str(caught.value)


def listed(source):
    return [(p.name, source.classes[p.label], p.split, p.group) for p in source.samples]


def test_rows_keep_their_order_and_classes_are_sorted(table):
    source = read(table, GOOD)
    assert source.classes == ("robin", "wren")
    assert listed(source) == [
        ("photos/a/1.png", "wren", None, None),
        ("photos/b/1.png", "robin", None, None),
    ]
    assert [photo.path for photo in source.samples] == [
        table.parent / "photos/a/1.png",
        table.parent / "photos/b/1.png",
    ]


def test_columns_can_have_any_order(table):
    source = read(
        table,
        "group,note,split,label,path\n"
        'nest 1,"wet, cold",train,wren,photos/a/1.png\n'
        ",,train,robin,photos/b/1.png\n"
        "nest 2,,test,wren,photos/a/2.png\n"
        "nest 2,,test,robin,photos/b/2.png\n",
    )
    assert listed(source) == [
        ("photos/a/1.png", "wren", "train", "nest 1"),
        ("photos/b/1.png", "robin", "train", None),
        ("photos/a/2.png", "wren", "test", "nest 2"),
        ("photos/b/2.png", "robin", "test", "nest 2"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("\n", "\n\n"),
        GOOD.replace(",", " , "),
        'path,label\n"photos/a/1.png","wren"\nphotos/./b//1.png,robin',
    ],
    ids=["byte order mark", "Windows lines", "blank lines", "spaces", "quotes"],
)
def test_the_dialects_of_spreadsheets_are_read(table, text):
    assert listed(read(table, text)) == listed(read(table, GOOD))


def test_names_and_labels_in_other_scripts_are_kept(table):
    (table.parent / "photos/梨.png").write_bytes((table.parent / "photos/a/1.png").read_bytes())
    source = read(table, f"{GOOD}photos/梨.png,крапивник\n")
    assert listed(source)[2][:2] == ("photos/梨.png", "крапивник")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("photos/a/3.png,wren", "'photos/a/3.png' is missing"),
        ("photos/a,wren", "'photos/a' is missing"),
        (",wren", "'' is missing"),
        (f"{'x' * 300}.png,wren", "is missing"),
        ("photos/a/2.png,", "'photos/a/2.png' has no label"),
        ("photos/a/2.png", "'photos/a/2.png' has no label"),
        ("../birds.csv,wren", "is outside"),
        ("photos/../../x.png,wren", "is outside"),
        ("/etc/passwd,wren", "is outside"),
        ("C:/x.png,wren", "is outside"),
        ("photos/b/1.png,wren", "'photos/b/1.png' is already on line 3"),
        ("photos/./b/1.png,robin", "'photos/b/1.png' is already on line 3"),
        ('"photos/a/2.png,wren', "is not CSV"),
    ],
)
def test_an_unusable_row_is_refused_with_its_line(table, row, problem):
    message = refusal(table, f"{GOOD}{row}\n")
    assert message.startswith(f"{table}, line 4: ")
    assert problem in message


@pytest.mark.parametrize("split", ["Train", "dev", ""])
def test_an_invalid_split_is_refused_with_its_line(table, split):
    message = refusal(
        table, f"path,label,split\nphotos/a/1.png,wren,train\nphotos/b/1.png,robin,{split}"
    )
    assert message.startswith(f"{table}, line 3: split '{split}' is not one of train, val, test")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has no column 'path'"),
        ("photos/a/1.png,wren\n", "has no column 'path'"),
        ("path,class\nphotos/a/1.png,wren\n", "has no column 'label'"),
        ("path;label\nphotos/a/1.png;wren\n", "has no column 'path'"),
        ("path,label\nphotos/a/1.png,zaunkönig\n".encode("latin-1"), "is not UTF-8 text"),
        ("path,label\n", "has 0 class"),
        ("path,label\nphotos/a/1.png,wren\n", "has 1 class"),
        ("path,label\nphotos/a/1.png,Wren\nphotos/a/2.png,wren\n", "differ only in case"),
        (
            "path,label,split\nphotos/a/1.png,wren,train\nphotos/b/1.png,robin,train\n"
            "photos/a/2.png,wren,test\n",
            "class 'robin': has no images in split 'test'",
        ),
    ],
)
def test_an_unusable_table_is_refused(table, text, problem):
    assert problem in refusal(table, text)


def test_a_missing_table_is_refused(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(DataError, match=r"cannot be read .*set prepare\.path to the CSV file"):
            read_source(Prepare(source="csv", path=str(path)))


def test_published_splits_of_a_table_reach_the_splits(table):
    rows = [("a/1", "wren", "train"), ("b/1", "robin", "train")]
    rows += [("a/2", "wren", "test"), ("b/2", "robin", "test")]
    photo = Path("photos/a/1.png")
    for name in ("a/3", "b/3"):
        (table.parent / f"photos/{name}.png").write_bytes((table.parent / photo).read_bytes())
        rows.append((name, "wren" if name[0] == "a" else "robin", "val"))
    text = "path,label,split\n" + "".join(f"photos/{n}.png,{c},{s}\n" for n, c, s in rows)
    source = read(table, text, split="published")
    chosen = split_dataset(source, Prepare(source="csv", path="x", split="published"))
    assert chosen == {"train": [0, 1], "test": [2, 3], "val": [4, 5]}
