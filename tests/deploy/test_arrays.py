"""Images and logits in ``.npy`` files."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finch_runtime.arrays import check_output, read_images, write_logits
from finch_runtime.errors import RuntimeProblem
from hypothesis import given, settings
from hypothesis import strategies as st

Array = np.ndarray[Any, Any]


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(np.zeros((2, 8, 8, 3), np.float32), id="float"),
        pytest.param(np.zeros((8, 8, 3), np.uint8), id="one image"),
        pytest.param(np.zeros((2, 3, 8, 8), np.uint8), id="channels first"),
        pytest.param(np.zeros((0, 8, 8, 3), np.uint8), id="none"),
        pytest.param(np.array([{"a": 1}], dtype=object), id="pickled"),
    ],
)
def test_other_arrays_are_rejected(tmp_path: Path, wrong: Array) -> None:
    path = tmp_path / "images.npy"
    np.save(path, wrong, allow_pickle=True)
    with pytest.raises(RuntimeProblem) as caught:
        read_images(path)
    assert caught.value.thing == path


@pytest.mark.parametrize("length", [0, 5, 60, 500])
def test_a_truncated_file_is_rejected(tmp_path: Path, images: Array, length: int) -> None:
    path = tmp_path / "images.npy"
    np.save(path, images)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(RuntimeProblem, match="not a complete"):
        read_images(path)


def test_an_archive_of_arrays_and_a_missing_file_are_rejected(
    tmp_path: Path, images: Array
) -> None:
    np.savez(tmp_path / "images.npz", images)
    with pytest.raises(RuntimeProblem, match="several arrays"):
        read_images(tmp_path / "images.npz")
    with pytest.raises(RuntimeProblem, match="no such file"):
        read_images(tmp_path / "missing.npy")


HEADER = "{'descr': '|u1', 'fortran_order': %s, 'shape': %s, }"


def npy(shape: str, order: str = "False", version: bytes = b"\1\0", size: int = 600) -> bytes:
    header = (HEADER % (order, shape)).encode() + b"\n"
    length = len(header).to_bytes(2 if version == b"\1\0" else 4, "little")
    return b"\x93NUMPY" + version + length + header + bytes(size)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (npy("(-1, 8, 8, 3)"), "contains uint8"),
        (npy("(2, -8, -8, 3)"), "contains uint8"),
        (npy("(2, 0, 8, 3)"), "contains uint8"),
        (npy("(1000, 8, 8, 3)"), "no room"),
        (npy(f"({2**62}, {2**62}, 8, 3)"), "no room"),
        (npy("(True, 8, 8, 3)"), "contains uint8"),
        (npy("(2, 8, 8, 3)", order="True"), "Fortran order"),
        (npy("(" * 4000 + ")" * 4000, version=b"\2\0"), "not a complete"),
        (npy("[" * 90 + "]" * 90), "not a complete"),
        (npy("(2, 8, 8, 3), 'more': 1"), "not a complete"),
        (npy("9" * 5000), "not a complete"),
        (npy("(2, 8, 8, 3)", version=b"\\9\0"), "not a complete"),
        (npy("{[]: 1}"), "not a complete"),
        (b"\x93NUMPY\2\0" + (2**32 - 1).to_bytes(4, "little") + bytes(100), "not a complete"),
    ],
)
def test_hostile_headers_are_rejected(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "images.npy"
    path.write_bytes(content)
    with pytest.raises(RuntimeProblem, match=expected):
        read_images(path)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 127), st.integers(0, 255)), max_size=5))
def test_a_damaged_header_raises_no_other_error(damage: list[tuple[int, int]]) -> None:
    file = io.BytesIO()
    np.save(file, np.zeros((2, 8, 8, 3), np.uint8))
    content = bytearray(file.getvalue())
    for place, value in damage:
        content[place] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "images.npy")
        path.write_bytes(content)
        with contextlib.suppress(RuntimeProblem):
            images = read_images(path)
            assert images[0:1].shape[3] == 3 and len(images) >= 1


def test_numpys_second_version_is_read(tmp_path: Path, images: Array) -> None:
    with (tmp_path / "images.npy").open("wb") as file:
        np.lib.format.write_array(file, images, version=(2, 0))
    assert np.array_equal(read_images(tmp_path / "images.npy")[0:7], images)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (os.mkfifo, "not a regular file"),
        (os.mkdir, "not a regular file"),
        (lambda path: path.symlink_to(path), "links"),
        (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    ],
)
def test_images_that_are_no_file_are_not_opened(tmp_path: Path, make: Any, expected: str) -> None:
    make(tmp_path / "images.npy")
    with pytest.raises(RuntimeProblem, match=expected):
        read_images(tmp_path / "images.npy")


LOGITS = np.float32([[1, 2]])


def test_logits_are_written_atomically(tmp_path: Path) -> None:
    logits = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    write_logits(tmp_path / "logits.npy", logits)
    assert np.array_equal(np.load(tmp_path / "logits.npy"), logits)
    (tmp_path / "folder").mkdir()
    for place in (tmp_path / "missing" / "logits.npy", tmp_path / "folder"):
        with pytest.raises(RuntimeProblem, match="cannot be written"):
            write_logits(place, logits)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "logits.npy"]


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_logits_follow_the_umask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_logits(tmp_path / "logits.npy", LOGITS)
    finally:
        os.umask(before)
    assert (tmp_path / "logits.npy").stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_link_stays_and_its_file_changes(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for name in ("old.npy", "new.npy"):
        (tmp_path / name).symlink_to(tmp_path / "there" / name)
    (tmp_path / "there" / "old.npy").write_bytes(b"old")
    for name in ("old.npy", "new.npy"):
        write_logits(tmp_path / name, LOGITS)
        assert (tmp_path / name).is_symlink()
        assert np.array_equal(np.load(tmp_path / "there" / name), LOGITS)
    assert len(list(tmp_path.iterdir())) == 3 and len(list((tmp_path / "there").iterdir())) == 2


def test_a_pipe_and_a_device_stay_what_they_are(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to(os.devnull)
    for name in ("pipe", "null"):
        with pytest.raises(RuntimeProblem, match="not a regular file"):
            write_logits(tmp_path / name, LOGITS)
    with pytest.raises(RuntimeProblem, match="not a regular file"):
        check_output(Path(os.devnull), [])
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "null").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["null", "pipe"]


@pytest.mark.parametrize("name", ["", "x" * 300, "a\0b", "\ud800", "..", "/"])
def test_impossible_names_are_problems(tmp_path: Path, name: str) -> None:
    for refuse in (lambda path: check_output(path, []), lambda path: write_logits(path, LOGITS)):
        with pytest.raises(RuntimeProblem):
            refuse(Path(name))
    assert list(tmp_path.iterdir()) == []


def test_a_name_of_the_greatest_length_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    write_logits(path, LOGITS)
    assert np.array_equal(np.load(path), LOGITS)


def test_an_input_is_never_an_output(tmp_path: Path, images: Array) -> None:
    path = tmp_path / "images.npy"
    np.save(path, images)
    (tmp_path / "hard.npy").hardlink_to(path)
    (tmp_path / "soft.npy").symlink_to(path)
    (tmp_path / "folder").mkdir()
    names = ("images.npy", "hard.npy", "soft.npy", "folder/../images.npy")
    for place in (tmp_path / name for name in names):
        with pytest.raises(RuntimeProblem, match="is an input"):
            check_output(place, [tmp_path / "missing", path])
    check_output(tmp_path / "logits.npy", [path])


def test_a_full_disk_is_a_problem_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "logits.npy"
    path.write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        with pytest.raises(RuntimeProblem, match="cannot be written: File too large"):
            write_logits(path, np.zeros((100, 100), np.float32))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1
