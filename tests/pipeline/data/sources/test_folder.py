import os
from pathlib import Path

import pytest
from PIL import Image

from pipeline.data.sources import read_source
from pipeline.errors import DataError
from pipeline.params import Prepare


def put(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() == ".txt":
            path.write_text("not a image")
        else:
            Image.new("RGB", (4, 4)).save(path, format="PNG")


def listed(source):
    return [(photo.name, source.classes[photo.label], photo.split) for photo in source.samples]


def read(folder):
    return read_source(Prepare(source="folder", path=str(folder)))


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
    "names", [("train", "val", "test"), ("Training", "validation", "TEST"), ("train", "valid")]
)
def test_split_folders_above_the_classes_are_the_published_splits(tmp_path, names):
    meaning = {"tr": "train", "va": "val", "te": "test"}
    for name in names:
        put(tmp_path, f"{name}/a/1.png", f"{name}/b/2.png")
    source = read(tmp_path)
    assert source.classes == ("a", "b")
    assert listed(source) == [
        (f"{name}/{label}/{number}.png", label, meaning[name[:2].lower()])
        for name in names
        for label, number in (("a", 1), ("b", 2))
    ]


def test_a_class_can_have_the_name_of_a_split(tmp_path):
    put(tmp_path, "train/1.png", "tram/1.png")
    assert listed(read(tmp_path)) == [("train/1.png", "train", None), ("tram/1.png", "tram", None)]


def test_hidden_files_and_other_files_are_ignored(tmp_path):
    put(tmp_path, "a/1.png", "b/1.png", "a/.2.png", "a/.thumbs/3.png", ".git/4.png")
    put(tmp_path, "a/notes.txt", "readme.txt", "5.png", "b/Thumbs.db")
    assert [name for name, _, _ in listed(read(tmp_path))] == ["a/1.png", "b/1.png"]


@pytest.mark.parametrize("link", ["a/up", "up", "a/deep/up", "a/self"])
def test_a_link_to_a_containing_folder_is_refused(tmp_path, link):
    put(tmp_path, "a/deep/1.png", "b/1.png")
    target = tmp_path / "a" if link.endswith("self") else tmp_path
    (tmp_path / link).symlink_to(target, target_is_directory=True)
    with pytest.raises(DataError, match=f"/{link}: is a link to"):
        read(tmp_path)


@pytest.mark.parametrize("link", ["round", "a/round.png", "a/b/round"])
def test_a_broken_link_is_refused(tmp_path, link):
    put(tmp_path, "a/b/1.png", "b/1.png")
    (tmp_path / link).symlink_to(Path(link).name)
    with pytest.raises(DataError, match=f"/{link}: is a broken link"):
        read(tmp_path)
    (tmp_path / link).unlink()
    (tmp_path / link).symlink_to("gone")
    with pytest.raises(DataError, match=f"/{link}: is a broken link"):
        read(tmp_path)


def test_a_folder_inside_a_class_may_be_a_link(tmp_path):
    put(tmp_path / "disk", "1.png")
    put(tmp_path / "photos", "a/0.png", "b/1.png")
    (tmp_path / "photos/a/more").symlink_to(tmp_path / "disk", target_is_directory=True)
    assert [n for n, _, _ in listed(read(tmp_path / "photos"))] == [
        "a/0.png",
        "a/more/1.png",
        "b/1.png",
    ]


@pytest.mark.parametrize("locked", ["", "a", "a/deep"])
def test_an_unreadable_folder_is_refused(tmp_path, monkeypatch, locked):
    # Simulated, because to the superuser no folder is locked.
    put(tmp_path, "a/deep/1.png", "b/1.png")
    real = Path.iterdir

    def iterdir(folder):
        if folder == tmp_path / locked:
            raise PermissionError(13, "Permission denied", str(folder))
        return real(folder)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / locked}: cannot be read (Permission denied)")


def test_a_class_folder_may_be_a_link_to_another_disk(tmp_path):
    put(tmp_path / "disk", "1.png")
    put(tmp_path / "photos", "b/1.png")
    (tmp_path / "photos" / "a").symlink_to(tmp_path / "disk", target_is_directory=True)
    assert [name for name, _, _ in listed(read(tmp_path / "photos"))] == ["a/1.png", "b/1.png"]


@pytest.mark.parametrize("trees", [("",), ("train/", "test/")])
def test_class_names_that_differ_only_in_case_are_refused(tmp_path, trees):
    put(tmp_path, *(f"{tree}{twin}/1.png" for tree in trees for twin in ("Apple", "apple")))
    with pytest.raises(DataError, match="'Apple' and 'apple' differ only in case"):
        read(tmp_path)


def test_names_that_differ_in_case_across_splits_are_not_reported_as_a_missing_class(tmp_path):
    put(tmp_path, "train/Straße/1.png", "test/STRASSE/1.png")
    with pytest.raises(DataError, match="differ only in case"):
        read(tmp_path)


def test_a_split_without_a_class_is_refused(tmp_path):
    put(tmp_path, "train/a/1.png", "train/b/1.png", "test/a/1.png")
    with pytest.raises(DataError, match=r": split 'test' lacks class 'b'"):
        read(tmp_path)


def test_a_class_without_images_is_refused_by_name(tmp_path):
    put(tmp_path, "full/1.png", "hollow/notes.txt")
    with pytest.raises(DataError, match="class 'hollow': has no images"):
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


def test_split_folders_without_class_folders_are_refused(tmp_path):
    put(tmp_path, "train/1.png", "test/1.png")
    with pytest.raises(DataError, match="no class folders"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["none", "file.png"])
def test_a_path_that_is_not_a_folder_is_refused(tmp_path, name):
    put(tmp_path, "file.png")
    with pytest.raises(DataError, match=r"is not a folder; set prepare\.path"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", [b"a/caf\xe9.png", b"caf\xe9/1.png"])
def test_a_name_that_is_not_utf8_is_refused_in_a_message_that_can_be_printed(tmp_path, name):
    put(tmp_path, "a/1.png", "b/1.png")
    path = os.fsencode(tmp_path) + b"/" + name
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        os.link(tmp_path / "a" / "1.png", path)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    with pytest.raises(DataError, match="is not UTF-8") as caught:
        read(tmp_path)
    str(caught.value).encode()  # does not raise


def test_names_in_other_scripts_are_kept(tmp_path):
    put(tmp_path, "яблоко/один два.png", "梨/一.png")
    assert [name for name, _, _ in listed(read(tmp_path))] == ["яблоко/один два.png", "梨/一.png"]
