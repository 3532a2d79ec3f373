"""Fingerprints of files: what they depend on, and what is read again."""

from __future__ import annotations

import builtins
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import DataError
from pipeline.file_fingerprint import FileHashes

DAY_NS = 24 * 3600 * 10**9


def fingerprint(store: Path, *paths: Path) -> str:
    with FileHashes(store) as hashes:
        return hashes.fingerprint(paths).sha256


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "hashes.json"


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three files, which were written long before the first fingerprint."""
    folder = tmp_path / "photos"
    for name in ("ant/1.png", "ant/2.png", "bee/1.png"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + DAY_NS)
    return folder


@pytest.fixture
def opened(photos: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the photographs that were opened."""
    names: list[str] = []
    plain = builtins.open

    def record(file: Any, *args: Any, **kwargs: Any) -> Any:
        if str(file).startswith(str(photos)):
            names.append(Path(file).relative_to(photos).as_posix())
        return plain(file, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", record)
    return names


def test_unchanged_files_are_read_once(photos: Path, store: Path, opened: list[str]) -> None:
    first = fingerprint(store, photos)
    assert sorted(opened) == ["ant/1.png", "ant/2.png", "bee/1.png"]
    opened.clear()
    assert fingerprint(store, photos) == first
    assert opened == []


def edit(photos: Path) -> None:
    (photos / "ant/1.png").write_bytes(b"ant/9.png")


def edit_and_set_time_back(photos: Path) -> None:
    path = photos / "ant/1.png"
    before = path.stat()
    path.write_bytes(b"ant/9.png")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_ino == before.st_ino


def replace_with_same_size_and_time(photos: Path) -> None:
    path, other = photos / "ant/1.png", photos / "other.png"
    before = path.stat()
    other.write_bytes(b"ant/9.png")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize(
    "change",
    [
        edit,
        edit_and_set_time_back,
        replace_with_same_size_and_time,
        lambda photos: (photos / "bee/2.png").write_bytes(b"new"),
        lambda photos: (photos / "bee/1.png").unlink(),
        lambda photos: (photos / "bee/1.png").rename(photos / "bee/2.png"),
        lambda photos: (photos / "bee").rename(photos / "wasp"),
        lambda photos: (photos / "bee/2.png").symlink_to("gone.png"),
    ],
)
def test_a_change_gives_another_fingerprint(
    change: Callable[[Path], object], photos: Path, store: Path
) -> None:
    first = fingerprint(store, photos)
    change(photos)
    assert fingerprint(store, photos) != first


def test_times_and_places_do_not_count(photos: Path, store: Path, tmp_path: Path) -> None:
    first = fingerprint(store, photos)
    os.utime(photos / "ant/1.png")
    assert fingerprint(store, photos) == first
    elsewhere = shutil.copytree(photos, tmp_path / "elsewhere")
    assert fingerprint(tmp_path / "other.json", elsewhere) == first
    (tmp_path / "link").symlink_to(photos)
    assert fingerprint(store, tmp_path / "link") == first


def test_hidden_files_do_not_count(photos: Path, store: Path) -> None:
    first = fingerprint(store, photos)
    (photos / ".DS_Store").write_bytes(b"x")
    (photos / ".cache").mkdir()
    (photos / ".cache/1.png").write_bytes(b"x")
    assert fingerprint(store, photos) == first


def test_the_caller_chooses_what_is_left_out(photos: Path, store: Path) -> None:
    with FileHashes(store) as hashes:
        assert hashes.fingerprint([photos], leave_out=lambda name: name == "ant").files == 1


def test_a_file_that_just_changed_is_read_again(
    photos: Path, store: Path, opened: list[str]
) -> None:
    soon = time.time_ns() - 10**9
    os.utime(photos / "ant/1.png", ns=(soon, soon))
    fingerprint(store, photos)
    opened.clear()
    fingerprint(store, photos)
    assert opened == ["ant/1.png"]


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[]", "null", '{"format": 1}', '{"format": 1, "files": []}',
        '{"format": 1, "files": {"a": 1}}', '{"format": 1, "files": {"a": [1, "b"]}}',
        '{"format": 0, "files": {}}', "[" * 10**5,
    ],
)  # fmt: skip
def test_a_damaged_store_is_ignored(photos: Path, store: Path, content: str) -> None:
    expected = fingerprint(store, photos)
    store.write_text(content)
    assert fingerprint(store, photos) == expected
    assert len(json.loads(store.read_text())["files"]) == 3


def test_an_interrupt_keeps_the_hashes(photos: Path, store: Path, opened: list[str]) -> None:
    def interrupt(items: Any, description: str, total: int | None = None) -> Any:
        for number, item in enumerate(items):
            if number == 2:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt), FileHashes(store) as hashes:
        hashes.fingerprint([photos], track=interrupt)
    opened.clear()
    fingerprint(store, photos)
    assert opened == ["bee/1.png"]


def test_files_that_are_gone_are_forgotten(photos: Path, store: Path) -> None:
    fingerprint(store, photos)
    shutil.rmtree(photos / "ant")
    fingerprint(store, photos)
    assert [Path(name).name for name in json.loads(store.read_text())["files"]] == ["1.png"]


def test_links_in_a_circle_end(photos: Path, store: Path) -> None:
    first = fingerprint(store, photos)
    (photos / "bee/all").symlink_to(photos)
    (photos / "a").symlink_to("b")
    (photos / "b").symlink_to("a")
    assert fingerprint(store, photos) != first


def test_a_pipe_is_not_read(photos: Path, store: Path) -> None:
    os.mkfifo(photos / "bee/2.png")
    fingerprint(store, photos)


def test_names_that_are_not_utf8(photos: Path, store: Path, opened: list[str]) -> None:
    Path(os.fsdecode(os.fsencode(photos) + b"/bee/\xff.png")).write_bytes(b"x")
    first = fingerprint(store, photos)
    opened.clear()
    assert fingerprint(store, photos) == first
    assert opened == []


def test_a_folder_that_cannot_be_read_is_named(
    photos: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = os.scandir

    def refuse(folder: str) -> Any:
        if folder.endswith("bee"):
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"bee: cannot be read .*permissions"):
        fingerprint(store, photos)


def test_missing_files_and_the_order_of_files(photos: Path, store: Path) -> None:
    one, other = photos / "ant/1.png", photos / "ant/2.png"
    assert fingerprint(store, one, other) != fingerprint(store, other, one)
    missing = fingerprint(store, photos / "none.png")
    (photos / "none.png").write_bytes(b"")
    assert fingerprint(store, photos / "none.png") != missing
