"""Images by file, folder and standard input, as `classify` takes them."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from finch_runtime.cli import main
from finch_runtime.photos import find_photos


def test_a_folder_stands_for_the_images_in_and_below_it(tmp_path: Path) -> None:
    names = ("b/2.JPG", "b/1.png", "a.webp", "notes.txt", ".hidden.jpg", ".git/3.jpg", "._a.webp")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [Path(each).relative_to(tmp_path).as_posix() for each in find_photos([str(tmp_path)])]
    assert found == ["a.webp", "b/1.png", "b/2.JPG"]
    assert find_photos(["-", "x.jpg", str(tmp_path / "b")])[:2] == ["-", "x.jpg"]


def classify(
    capsys: pytest.CaptureFixture[str], bundle: Path, *images: object
) -> tuple[int, Any, str]:
    code = main(["classify", "--json", "--bundle", str(bundle), *map(str, images)])
    out, err = capsys.readouterr()
    return code, json.loads(out or "null"), err


def test_folder_files_and_standard_input_give_the_same_labels(
    make_bundle: Callable[..., Path],
    photos: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle = make_bundle()
    folder = photos[0].parent / "album"
    folder.mkdir()
    for photo in photos:
        photo.rename(folder / photo.name)
    code, of_folder, _ = classify(capsys, bundle, folder)
    assert code == 0
    assert [each["image"] for each in of_folder] == [str(folder / each.name) for each in photos]
    piped = io.TextIOWrapper(io.BytesIO((folder / photos[1].name).read_bytes()))
    monkeypatch.setattr(sys, "stdin", piped)
    code, of_input, _ = classify(capsys, bundle, "-")
    assert code == 0
    assert of_input == [{"image": "-", "top": of_folder[1]["top"]}]


def test_an_empty_folder_and_an_empty_input_are_one_line_each_beside_the_other_images(
    make_bundle: Callable[..., Path],
    photos: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    code, found, err = classify(capsys, make_bundle(), empty, "-", photos[0])
    assert (code, len(found)) == (2, 1)
    assert err.splitlines() == [
        f"finch_runtime: {empty}: is a folder; pass the image files in it",
        "finch_runtime: standard input: is empty; pipe an image into it, or pass a file",
    ]
