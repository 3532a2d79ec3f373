"""Links, rights and names of folders and files: what is followed or kept, and what is refused."""

import os
import unicodedata
from pathlib import Path

import pytest

from pipeline.errors import DataError
from tests.pipeline.data.sources.image_folders import listed, put, read


@pytest.mark.parametrize("folders", [("{}/1.png", "{}/2.png"), ("train/{}/1.png", "test/{}/1.png")])
def test_composed_and_decomposed_names_are_one_class(tmp_path, folders):
    for form, file in zip(("NFC", "NFD"), folders, strict=True):
        put(tmp_path, file.format(unicodedata.normalize(form, "Käfer")))
    put(tmp_path, *(file.format("bee") for file in folders))
    source = read(tmp_path)
    assert source.classes == ("Käfer", "bee")
    assert len(source.samples) == 4


@pytest.mark.parametrize("names", [("cat", "cat "), ("cat", "Cat"), ("a b", "a  b")])
def test_class_names_that_look_alike_are_refused(tmp_path, names):
    put(tmp_path, *(f"{name}/1.png" for name in names))
    with pytest.raises(DataError, match="differ only in"):
        read(tmp_path)


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
    real = os.scandir

    def scandir(folder):
        if Path(folder) == tmp_path / locked:
            raise PermissionError(13, "Permission denied", str(folder))
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
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


def test_a_file_that_is_passed_over_may_have_any_name(tmp_path):
    put(tmp_path, "a/1.png", "b/1.png")
    try:
        os.link(tmp_path / "a" / "1.png", os.fsencode(tmp_path) + b"/caf\xe9.txt")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert [file.name for file in read(tmp_path).passed_over] == ["caf?.txt"]


def test_names_in_other_scripts_are_kept(tmp_path):
    put(tmp_path, "яблоко/один два.png", "梨/一.png")
    assert [name for name, _, _ in listed(read(tmp_path))] == ["яблоко/один два.png", "梨/一.png"]
