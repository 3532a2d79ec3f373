"""Which folders and files are read as splits, classes and images, and which layouts are refused."""

import shutil
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.data.sources import PassedOver, read_source
from pipeline.data.sources.folder import Folder
from pipeline.errors import DataError, ParameterError
from pipeline.params import Prepare
from tests.pipeline.data.sources.image_folders import listed, put, read


def test_class_folders_become_classes_by_name_and_files_by_path(tmp_path):
    put(tmp_path, "pear/2.png", "apple/b/1.JPG", "apple/a.jpeg", "pear/10.webp")
    source = read(tmp_path)
    assert source.classes == ("apple", "pear")
    assert listed(source) == [
        ("apple/a.jpeg", "apple", None),
        ("apple/b/1.JPG", "apple", None),
        ("pear/10.webp", "pear", None),
        ("pear/2.png", "pear", None),
    ]
    assert all(photo.path == tmp_path / photo.name for photo in source.samples)


@pytest.mark.parametrize(
    "names",
    [
        {"train": "train", "val": "val", "test": "test"},
        {"train": "Training", "test": "Testing"},
        {"train": "TRAIN", "val": "eval", "test": "hold-out"},
        {"train": "train2017", "val": "val2017"},
        {"train": "birds_train", "test": "birds_test"},
        {"train": "train/images", "val": "val/images"},
        {"train": "seg_train/seg_train", "test": "seg_test/seg_test"},
        {"train": "archive/Train", "test": "archive/Test"},
        {"train": "My Data/v2/train_set", "val": "My Data/v2/Valid"},
    ],
)
def test_split_folders_above_the_classes_are_the_published_splits(tmp_path, names):
    for name in names.values():
        put(tmp_path, f"{name}/a/1.png", f"{name}/b/2.png")
    source = read(tmp_path)
    assert source.classes == ("a", "b")
    assert listed(source) == [
        (f"{name}/{label}/{number}.png", label, split)
        for split, name in names.items()
        for label, number in (("a", 1), ("b", 2))
    ]
    assert all(f"{name} is {split}" in str(source.remarks) for split, name in names.items())


def test_split_folders_next_to_other_files_are_recognized(tmp_path):
    put(tmp_path, "train/a/1.png", "train/b/1.png", "annotations/1.txt", "labels.txt", "val/x.txt")
    source = read(tmp_path)
    assert {split for _, _, split in listed(source)} == {"train"}
    assert {file.name for file in source.passed_over} == {
        "annotations/1.txt",
        "labels.txt",
        "val/x.txt",
    }


@pytest.mark.parametrize("test", ["test", "test/test", "Test/images", "seg_pred", "unlabeled/x"])
def test_a_test_folder_without_class_folders_is_passed_over_and_named(tmp_path, test):
    put(tmp_path, "train/a/1.png", "train/b/1.png", f"{test}/1.png", f"{test}/2.png")
    source = read(tmp_path)
    assert listed(source) == [("train/a/1.png", "a", "train"), ("train/b/1.png", "b", "train")]
    assert source.passed_over == (
        PassedOver(f"{test}/1.png", True),
        PassedOver(f"{test}/2.png", True),
    )
    assert any(repr(test.split("/")[0]) in remark for remark in source.remarks)


@pytest.mark.parametrize(
    ("names", "mentioned"),
    [
        (
            ["train/a", "train/b", "test/a", "test/b", "extra"],
            ["extra", "prepare.folder.train: train, prepare.folder.test: test", "layout: classes"],
        ),
        (
            ["x/Training/a", "x/Testing/a", "x/fruits/a"],
            ["fruits", "prepare.folder.train: x/Training, prepare.folder.test: x/Testing"],
        ),
        (
            ["train/a", "val/a", "eval/a"],
            ["'eval', 'val'", "prepare.folder.train: train, prepare.folder.val: eval"],
        ),
        (["train", "test"], ["'test', 'train'", "class folders", "csv"]),
        (
            ["camA/apple", "camA/pear", "camB/apple", "camB/pear"],
            ["'camA', 'camB'", "'apple', 'pear'", "class_folder: last", "layout: classes", "train"],
        ),
        (
            ["day/apple", "day/pear", "day/plum", "night/apple", "night/pear"],
            ["'day', 'night'", "'apple', 'pear'", "class_folder: last"],
        ),
        (
            ["a", "b", "Copy/a", "Copy/b"],
            ["'Copy'", "'a', 'b'", "layout: classes"],
        ),
        (
            ["apple/train", "apple/test", "pear/train", "pear/test"],
            ["'apple', 'pear'", "'test', 'train'", "<split>/<class>"],
        ),
    ],
)
def test_a_layout_with_several_readings_is_refused_with_the_parameters(tmp_path, names, mentioned):
    put(tmp_path, *(f"{name}/1.png" for name in names))
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert all(text in str(caught.value) for text in mentioned)


def test_classes_with_names_of_splits_are_read_if_a_parameter_says_so(tmp_path):
    put(tmp_path, "Training/a/1.png", "Training/b/1.png", "Testing/a/2.png")
    source = read(tmp_path, layout="classes")
    assert source.classes == ("Testing", "Training")
    assert {split for _, _, split in listed(source)} == {None}


def test_named_split_folders_are_read_and_all_others_passed_over(tmp_path):
    put(tmp_path, *(f"{name}/{label}/1.png" for name in ("x/foo", "bar", "val") for label in "ab"))
    source = read(tmp_path, train="x/foo", test="bar")
    assert listed(source) == [
        ("x/foo/a/1.png", "a", "train"),
        ("x/foo/b/1.png", "b", "train"),
        ("bar/a/1.png", "a", "test"),
        ("bar/b/1.png", "b", "test"),
    ]
    assert [file.name for file in source.passed_over] == ["val/a/1.png", "val/b/1.png"]


def test_a_named_split_folder_may_repeat_its_name(tmp_path):
    put(tmp_path, *(f"{name}/{name}/{label}/1.png" for name in ("foo", "bar") for label in "ab"))
    assert read(tmp_path, train="foo", test="bar").classes == ("a", "b")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"train": "foo", "test": "baz"}, r"folder\.test: 'baz' is not a folder.*'bar', 'foo'"),
        ({"train": "../foo"}, r"folder\.train: '\.\./foo' is not a folder"),
        ({"train": "foo", "test": "foo"}, "in the folder of"),
        ({"train": "foo", "val": "foo/a"}, "in the folder of"),
        ({"train": "foo", "layout": "classes"}, r"prepare\.folder\.train"),
    ],
)
def test_impossible_names_of_split_folders_are_refused(tmp_path, options, problem):
    put(tmp_path, "foo/a/1.png", "foo/b/1.png", "bar/a/1.png", "bar/b/1.png")
    with pytest.raises((DataError, ParameterError), match=problem):
        read(tmp_path, **options)


def test_a_wrapping_folder_is_descended_into(tmp_path):
    put(tmp_path, "archive/fruits/apple/1.png", "archive/fruits/pear/1.png", "archive/readme.txt")
    source = read(tmp_path)
    assert [name for name, _, _ in listed(source)] == [
        "archive/fruits/apple/1.png",
        "archive/fruits/pear/1.png",
    ]
    assert "archive/fruits" in source.remarks[0]


def test_a_class_of_many_folders_is_reported_and_the_last_folder_can_be_the_class(tmp_path):
    put(tmp_path, "Fruit/Apple/Golden/1.png", "Fruit/Apple/Red/1.png", "Fruit/Pear/1.png")
    put(tmp_path, "Carton/Milk/1.png", "Carton/Red/1.png")
    source = read(tmp_path)
    assert source.classes == ("Carton", "Fruit")
    assert all(
        text in source.remarks[0] for text in ("'Fruit'", "'Milk', 'Red'", "class_folder: last")
    )
    deepest = read(tmp_path, class_folder="last")
    assert deepest.classes == ("Golden", "Milk", "Pear", "Red")
    assert "'Red'" in deepest.remarks[0]
    assert len(deepest.samples) == 5 and not deepest.passed_over


def test_the_last_folder_is_the_class_below_split_folders_and_cameras(tmp_path):
    put(tmp_path, *(f"{t}/cam{c}/{k}/1.png" for t in ("train", "test") for c in "AB" for k in "ab"))
    source = read(tmp_path, class_folder="last")
    assert source.classes == ("a", "b")
    assert [split for _, _, split in listed(source)] == ["train"] * 4 + ["test"] * 4


def test_a_class_whose_name_says_that_it_is_none_is_reported(tmp_path):
    put(tmp_path, "a/1.png", "b/1.png", "unlabeled/1.png")
    source = read(tmp_path)
    assert source.classes == ("a", "b", "unlabeled")
    assert any("'unlabeled'" in remark for remark in source.remarks)


def test_hidden_folders_are_reported(tmp_path):
    put(tmp_path, "a/1.png", "b/1.png", ".c/1.png", "a/.2.png", ".git/3.png", "b/._1.png")
    (remark,) = read(tmp_path).remarks
    assert "'.c'" in remark and "'a/.2.png'" in remark
    assert ".git" not in remark and "._1" not in remark


folders = st.sampled_from(["train", "Test", "a", "b", "c", "data", "x", "__MACOSX", "masks"])
files = st.sampled_from(["1.png", "2.jpg", "2_mask.jpg", "n.txt", "Thumbs.db", "r.cr2"])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sets(
        st.tuples(st.lists(folders, max_size=3), files).map(lambda p: "/".join((*p[0], p[1]))),
        min_size=4,
        max_size=12,
    ),
    st.sampled_from(["first", "last"]),
    st.sampled_from(["auto", "classes"]),
)
def test_all_files_are_read_or_passed_over(tmp_path, names, class_folder, layout):
    shutil.rmtree(tmp_path)
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    options = {"class_folder": class_folder, "layout": layout}
    with suppress(DataError):
        found = Folder(**options).read(tmp_path)
        read_files = [sample.name for sample in found.samples]
        passed_over = [file.name for file in found.passed_over]
        assert sorted([*read_files, *passed_over]) == sorted(names)
        assert not any("__MACOSX" in name for name in read_files)


def test_an_image_without_a_suffix_is_read(tmp_path):
    put(tmp_path, "a/1", "b/1.png", "b/README")
    (tmp_path / "b/README").write_text("two birds")
    source = read(tmp_path)
    assert [name for name, _, _ in listed(source)] == ["a/1", "b/1.png"]
    assert [file.name for file in source.passed_over] == ["b/README"]


@pytest.mark.parametrize("split", ["blocks", "random"])
def test_a_split_without_a_class_does_not_matter_if_the_splits_are_not_used(tmp_path, split):
    put(tmp_path, *(f"train/{label}/{n}.png" for label in "ab" for n in range(5)), "test/a/9.png")
    source = read_source(Prepare(source="folder", path=str(tmp_path), split=split))
    assert len(source.samples) == 11


def test_a_class_that_is_in_the_test_split_only_is_refused(tmp_path):
    put(tmp_path, "train/a/1.png", "train/b/1.png", "test/a/1.png", "test/b/1.png", "test/c/1.png")
    with pytest.raises(DataError, match=r"no images of 'c' .*test: 1"):
        read(tmp_path)


def test_a_class_that_is_missing_from_another_split_is_reported(tmp_path):
    put(tmp_path, *(f"train/{name}/1.png" for name in "abc"), "val/a/1.png", "val/c/1.png")
    assert any("'b'" in remark and "val" in remark for remark in read(tmp_path).remarks)


def test_a_split_with_one_class_is_refused(tmp_path):
    put(tmp_path, "train/a/1.png", "train/b/1.png", "test/a/1.png")
    with pytest.raises(DataError, match=r"split 'test' .*one class"):
        read(tmp_path)


def test_masks_beside_the_images_are_passed_over_and_counted(tmp_path):
    put(tmp_path, "a/1.png", "a/1_mask.png", "b/images/1.png", "b/masks/1.png", "b/masks/2.png")
    source = read(tmp_path)
    assert [name for name, _, _ in listed(source)] == [
        "a/1.png",
        "b/images/1.png",
        "b/masks/2.png",
    ]
    assert source.passed_over == (
        PassedOver("a/1_mask.png", False, 0),
        PassedOver("b/masks/1.png", False, 1),
    )
    assert any(remark.startswith("masks") and remark.endswith(": 2") for remark in source.remarks)


def test_the_versions_of_one_image_are_kept_together(tmp_path):
    names = [f"a/1_jpg.rf.{digit * 32}.jpg" for digit in "0f"]
    put(tmp_path, *names, "a/2.jpg", "b/1.jpg")
    source = read(tmp_path)
    groups = {photo.name: photo.group for photo in source.samples}
    assert groups[names[0]] == groups[names[1]] is not None
    assert groups["a/2.jpg"] is None
    assert any(
        remark.startswith("versions") and ": 2 images" in remark for remark in source.remarks
    )


@pytest.mark.parametrize("name", ["set.zip", "set.tar.gz"])
def test_an_archive_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(DataError, match="unpack it"):
        read(tmp_path / name)


def test_a_class_can_have_the_name_of_a_split(tmp_path):
    put(tmp_path, "train/1.png", "tram/1.png")
    assert listed(read(tmp_path)) == [("train/1.png", "train", None), ("tram/1.png", "tram", None)]


def test_every_file_that_is_not_hidden_is_read_or_passed_over(tmp_path):
    put(tmp_path, "a/1.png", "b/1.png", "a/.2.png", "a/.thumbs/3.png", ".git/4.png")
    put(tmp_path, "a/notes.txt", "readme.txt", "5.png", "b/raw/7.cr2")
    source = read(tmp_path)
    assert [name for name, _, _ in listed(source)] == ["a/1.png", "b/1.png"]
    assert source.passed_over == (
        PassedOver("5.png", True, None),
        PassedOver("a/notes.txt", False, 0),
        PassedOver("b/raw/7.cr2", True, 1),
        PassedOver("readme.txt", False, None),
    )
    assert any("no class folder" in remark and remark.endswith(": 1") for remark in source.remarks)


@pytest.mark.parametrize(
    "junk", ["__MACOSX", "@eaDir", "$RECYCLE.BIN", "lost+found", "System Volume Information"]
)
@pytest.mark.parametrize("where", ["", "a/", "train/"])
def test_folders_of_the_operating_system_are_no_classes(tmp_path, junk, where):
    tree = "train/" if where == "train/" else ""
    put(tmp_path, f"{tree}a/1.png", f"{tree}b/1.png", f"{where}{junk}/c/2.png")
    put(tmp_path, f"{tree}a/Thumbs.db", f"{tree}b/desktop.ini", f"{tree}b/._1.png", ".DS_Store")
    source = read(tmp_path)
    assert source.classes == ("a", "b")
    assert [name for name, _, _ in listed(source)] == [f"{tree}a/1.png", f"{tree}b/1.png"]
    names = {f"{tree}a/Thumbs.db", f"{tree}b/desktop.ini", f"{where}{junk}/c/2.png"}
    assert {file.name for file in source.passed_over} == names
    assert not any(file.is_image for file in source.passed_over)


def test_a_class_without_images_is_refused_by_name(tmp_path):
    put(tmp_path, "full/1.png", "hollow/notes.txt")
    with pytest.raises(DataError, match=r"class 'hollow': has no images.*1 \.txt file"):
        read(tmp_path)


def test_one_class_is_refused(tmp_path):
    put(tmp_path, "only/1.png", "only/2.png")
    with pytest.raises(DataError, match="has 1 class"):
        read(tmp_path)


@pytest.mark.parametrize("names", [(), ("1.png", "2.png"), (".hidden/1.png",)])
def test_a_folder_without_class_folders_is_refused(tmp_path, names):
    put(tmp_path, *names)
    with pytest.raises(DataError, match="no class folders"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["none", "file.png"])
def test_a_path_that_is_not_a_folder_is_refused(tmp_path, name):
    put(tmp_path, "file.png")
    with pytest.raises(DataError, match=r"is not a folder; set prepare\.path"):
        read(tmp_path / name)
