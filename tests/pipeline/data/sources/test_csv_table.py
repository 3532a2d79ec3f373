import csv
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.data.sources import read_source
from pipeline.data.sources.delimited_table import read_table
from pipeline.data.split import split_dataset
from pipeline.errors import DataError, ParameterError
from pipeline.params import Prepare, prepare_model


@pytest.fixture
def table(tmp_path):
    """Two images of each of two classes, and no rows yet."""
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png", "007.png", "000.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "photos" / name)
    return tmp_path / "birds.csv"


GOOD = "path,label\nphotos/a/1.png,wren\nphotos/b/1.png,robin\n"


def read(table, text, split="auto", **options):
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_source(prepare_model()(source="csv", path=str(table), split=split, csv=options))


def refusal(table, text, **options):
    with pytest.raises((DataError, ParameterError)) as caught:
        read(table, text, **options)
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
        'path,label\n"photos/a/1.png", "wren"\nphotos/./b//1.png,robin',
        GOOD.replace(",", ";"),
        GOOD.replace(",", "\t"),
        GOOD.replace(",", "|"),
        "sep=;\n" + GOOD.replace(",", ";"),
        GOOD.replace(",", "\t").encode("utf-16"),
        GOOD.replace("\n", ",,\n"),
        "\n \n" + GOOD,
        GOOD.replace("\n", "\r"),
        GOOD + "\x1a",
        GOOD.replace("path,label", "Path,LABEL"),
        GOOD.replace("photos/", "photos\\").replace("a/", "a\\"),
        GOOD.replace(".png", ""),
        GOOD.replace("photos", "Photos").replace(".png", ".PNG"),
    ],
    ids=[
        *("byte order mark", "Windows lines", "blank lines", "spaces", "quotes", "semicolons"),
        *("tabs", "pipes", "stated separator", "UTF-16", "empty cells", "blank header lines"),
        *(
            "old Mac lines",
            "end of file of DOS",
            "case of the header",
            "backslashes",
            "no suffixes",
            "case of paths",
        ),
    ],
)
def test_the_dialects_of_spreadsheets_are_read(table, text):
    assert listed(read(table, text)) == listed(read(table, GOOD))


cells = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=9)


@given(st.lists(cells, min_size=2, max_size=6), st.sampled_from(",;\t|"), st.sampled_from("\n\r"))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_cells_are_read_with_any_separator(tmp_path, values, separator, quoting):
    path = tmp_path / "table.csv"
    rows = [["path", "label"], *([value, value[::-1]] for value in values)]
    with path.open("w", encoding="utf-8", newline="") as file:
        style = csv.QUOTE_ALL if quoting == "\r" else csv.QUOTE_MINIMAL
        csv.writer(file, delimiter=separator, quoting=style).writerows(rows)
    found = read_table(path, {"path": "path", "label": "label"}, (), "utf-8")
    assert [[row.cells["path"], row.cells["label"]] for row in found] == rows[1:]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_columns_of_other_names_are_read_by_parameters(table, separator):
    text = "id,breed,fold,nest\na/1,wren,Training,x\nb/1,robin,TRAIN,\na/2,wren,valid,\n"
    text = (text + "b/2,robin,val,y\n").replace(",", separator)
    names = {"path": "id", "label": "breed", "split": "fold", "group": "nest"}
    options = {f"{key}_column": name for key, name in names.items()}
    source = read(table, text, root="photos", **options)
    assert listed(source) == [
        ("a/1.png", "wren", "train", "x"),
        ("b/1.png", "robin", "train", None),
        ("a/2.png", "wren", "val", None),
        ("b/2.png", "robin", "val", "y"),
    ]
    assert source.samples[0].path == table.parent / "photos/a/1.png"


def test_paths_can_be_relative_to_a_folder_that_does_not_contain_the_table(table):
    other = table.parent / "tables"
    other.mkdir()
    source = read(other / "birds.csv", GOOD.replace("photos/", ""), root="../photos")
    assert [name for name, *_ in listed(source)] == ["a/1.png", "b/1.png"]


def test_absolute_paths_below_the_folder_are_read(table):
    text = GOOD.replace("photos", str(table.parent / "photos"))
    assert listed(read(table, text)) == listed(read(table, GOOD))


def test_paths_that_were_corrected_are_reported_with_their_number(table):
    source = read(table, GOOD.replace(".png", ""))
    assert any(
        remark.startswith("paths without a suffix") and remark.endswith(": 2")
        for remark in source.remarks
    )
    assert any(
        remark.startswith("images beside") and remark.endswith(": 2") for remark in source.remarks
    )
    assert len(read(table, GOOD).remarks) == 1


def test_a_path_without_a_suffix_that_fits_two_images_is_refused(table):
    (table.parent / "photos/a/1.jpg").write_bytes(b"")
    message = refusal(table, GOOD.replace("a/1.png", "a/1"))
    assert "'photos/a/1.jpg', 'photos/a/1.png'" in message


def test_the_form_of_unicode_characters_does_not_matter(table):
    composed = unicodedata.normalize("NFC", "Zaunkönig")
    decomposed = unicodedata.normalize("NFD", composed)
    (table.parent / "photos/a/1.png").rename(table.parent / f"photos/{decomposed}.png")
    text = f"path,label\nphotos/{composed}.png,{composed}\nphotos/a/2.png,{decomposed}\n"
    assert read(table, f"{text}photos/b/1.png,robin\n").classes == (composed, "robin")


def test_a_table_in_another_encoding_is_read_if_a_parameter_says_so(table):
    text = GOOD.replace("wren", "Zaunkönig").encode("cp1252")
    assert "prepare.csv.encoding, which is cp1252" in refusal(table, text)
    assert read(table, text, encoding="cp1252").classes == ("Zaunkönig", "robin")
    assert "'cp9999'" in refusal(table, text, encoding="cp9999")


def test_labels_that_look_like_lists_are_reported(table):
    text = GOOD.replace("wren", "wren|nest") + 'photos/a/2.png,"[""wren""]"\n'
    assert any("'wren|nest'" in remark for remark in read(table, text).remarks)


def test_missing_files_are_counted(table):
    rows = "".join(f"photos/c/{number}.png,wren\n" for number in range(5))
    message = refusal(table, GOOD + rows)
    assert message.startswith(f"{table}, line 4: 'photos/c/0.png' is missing")
    assert "4 of 7 rows" in message and "prepare.csv.root" in message


def test_names_and_labels_in_other_scripts_are_kept(table):
    (table.parent / "photos/梨.png").write_bytes((table.parent / "photos/a/1.png").read_bytes())
    source = read(table, f"{GOOD}photos/梨.png,крапивник\n")
    assert listed(source)[2][:2] == ("photos/梨.png", "крапивник")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("photos/a/3.png,wren", "'photos/a/3.png' is missing"),
        ("photos/a,wren", "'photos/a' is a folder"),
        (",wren", "the path is empty"),
        ("photos/a/1.jpg,wren", "there is '1.png'"),
        ("photos/7.png,wren", "there is '007.png'"),
        ("photos/0.png,wren", "there is '000.png'"),
        ("photos/a/2.png,NaN", "'photos/a/2.png' has no label but 'NaN'"),
        ("path,label", "repeats the header"),
        ("https://birds.org/1.png,wren", "is a URL"),
        ("photos/a/2.png,wren,more", "has 3 cells, but the header has 2"),
        (f"{'x' * 300}.png,wren", "is missing"),
        ("photos/a/2.png,", "'photos/a/2.png' has no label"),
        ("photos/a/2.png", "'photos/a/2.png' has no label"),
        ("../birds.csv,wren", "is outside"),
        ("photos/../../x.png,wren", "is outside"),
        ("/etc/passwd,wren", "is outside"),
        ("/kaggle/input/photos/a/2.png,wren", "write 'photos/a/2.png', which exists"),
        (r"D:\birds\photos\a\2.png,wren", "write 'photos/a/2.png', which exists"),
        ("C:/x.png,wren", "is an absolute path of Windows"),
        (r"C:\birds\x.png,wren", "is an absolute path of Windows"),
        (r"..\x.png,wren", "is outside"),
        ("photos/b/1.png,wren", "'photos/b/1.png' is already on line 3"),
        ("photos/./b/1.png,robin", "'photos/b/1.png' is already on line 3"),
        ('"photos/a/2.png,wren', "is not CSV"),
    ],
)
def test_an_unusable_row_is_refused_with_its_line(table, row, problem):
    message = refusal(table, f"{GOOD}{row}\n")
    assert message.startswith(f"{table}, line 4: ")
    assert problem in message


@pytest.mark.parametrize("split", ["learn", "0", ""])
def test_an_invalid_split_is_refused_with_its_line(table, split):
    message = refusal(
        table, f"path,label,split\nphotos/a/1.png,wren,train\nphotos/b/1.png,robin,{split}"
    )
    assert message.startswith(
        f"{table}, line 3: split '{split}' is not a name of train, val or test"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("photos/a/1.png,wren\n", "has no column 'path'"),
        ("path,class\nphotos/a/1.png,wren\n", "prepare.csv.label_column to one of"),
        ("id;breed\nphotos/a/1.png;wren\n", "'id', 'breed'"),
        ("path,label,label\nphotos/a/1.png,wren,wren\n", "has 2 columns 'label'"),
        ("path,label\nphotos/a/1.png,zaunkönig\n".encode("latin-1"), "line 2: is not UTF-8 text"),
        (GOOD.encode("utf-16-le"), "prepare.csv.encoding to utf-16-le"),
        (b"PK\x03\x04" + bytes(40), "is an Excel workbook"),
        ("path,label\nphotos/a/1.png,a\nphotos/a/2.png,b\nphotos/b/1.png,a|b\n", "'a|b'"),
        ("path,label,MEL,NV\nphotos/a/1.png,,1.0,0.0\n", "has no label"),
        ("path,MEL,NV\nphotos/a/1.png,1,0\nphotos/a/2.png,0,1\n", "('MEL', 'NV')"),
        ("path,label\n", "has no rows"),
        ("path,label\n,\n", "has no rows"),
        ("path,label\nphotos/a/1.png,1\nphotos/b/1.png,1.0\n", "'1' and '1.0' are one number"),
        ("path,label\nphotos/a/1.png,wren\n", "has 1 class"),
        ("path,label\nphotos/a/1.png,Wren\nphotos/a/2.png,wren\n", "differ only in case"),
        (
            "path,label,split\nphotos/a/1.png,wren,train\nphotos/b/1.png,robin,train\n"
            "photos/a/2.png,wren,test\n",
            "split 'test' of the source: has images of one class only",
        ),
    ],
)
def test_an_unusable_table_is_refused(table, text, problem):
    assert problem in refusal(table, text)


def test_a_column_that_a_parameter_names_must_exist(table):
    message = refusal(table, GOOD, split_column="fold")
    assert "has no column 'fold'" in message and "prepare.csv.split_column" in message


def test_a_folder_that_does_not_exist_is_refused(table):
    assert refusal(table, GOOD, root="images").startswith("prepare.csv.root: ")


def test_a_missing_table_is_refused(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(DataError, match=r"cannot be read .*set prepare\.path to the table"):
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


def test_rows_with_an_empty_label_can_be_images_without_labels(table):
    text = GOOD + "photos/a/2.png,\nphotos/b/2.png,\n"
    assert "has no label" in refusal(table, text)
    source = read(table, text, empty_labels="unlabelled")
    assert len(source.samples) == 2
    assert [image.name for image in source.unlabelled] == ["photos/a/2.png", "photos/b/2.png"]
    assert not any("photos/a/2.png" in remark for remark in source.remarks)
    # A cell that says that there is none may be a mistake.
    assert "has no label but 'NaN'" in refusal(
        table, GOOD + "photos/a/2.png,NaN\n", empty_labels="unlabelled"
    )


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_row_of_an_evaluation_split_needs_a_label(table, split):
    text = (
        "path,label,split\nphotos/007.png,wren,train\nphotos/b/1.png,robin,train\n"
        f"photos/a/1.png,,train\nphotos/a/2.png,,{split}\n"
    )
    message = refusal(table, text, empty_labels="unlabelled")
    assert "line 5" in message
    assert f"has no label, but is in split '{split}'" in message
