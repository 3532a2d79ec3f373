import errno
import os
import resource
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
from safetensors import SafetensorError
from safetensors.numpy import save_file

from pipeline import storage
from pipeline.errors import Stopped, StorageError
from pipeline.files import (
    atomic_file,
    atomic_folder,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_full_disk_is_named_with_what_is_left(tmp_path):
    with (
        pytest.raises(StorageError, match=rf"{tmp_path}: no room, [\d.]+ [kMGT]?B left"),
        atomic_file(tmp_path / "a"),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"x")
    assert names(tmp_path) == []


def test_a_folder_that_does_not_fit_is_not_begun(tmp_path):
    path = tmp_path / "prepared"
    with pytest.raises(StorageError, match=r"no room for 5000\.0 TB, .* left"):  # noqa: SIM117
        with atomic_folder(path, 5 * 10**15):
            pytest.fail("begun")
    assert names(tmp_path) == []


@pytest.fixture
def small_files():
    """No file may become larger than 10 kB. Python ignores the signal."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def save_with_openvino(array, path):
    values = ov.opset13.constant(array)
    model = ov.Model([ov.opset13.add(values, values)], [], "sum")
    ov.save_model(model, path.with_suffix(".xml"), compress_to_fp16=False)


# Each raises another error: an OSError without a number, RuntimeError, SafetensorError, ...
WRITERS = {
    "text": lambda array, path: path.write_text(str(array.tolist())),
    "numpy": lambda array, path: np.save(path, array),
    "numpy with a file": lambda array, path: array.tofile(path),
    "pytorch": lambda array, path: torch.save(torch.from_numpy(array), path),
    "safetensors": lambda array, path: save_file({"array": array}, path),
    "openvino": save_with_openvino,
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_failed_write_is_a_storage_error_whatever_the_library_raises(
    tmp_path, small_files, write
):
    array = np.random.default_rng(0).normal(size=20_000).astype(np.float32)
    with pytest.raises(StorageError, match="larger than"), atomic_file(tmp_path / "a.npy") as part:
        write(array, part)
    assert not (tmp_path / "a.npy").exists()
    with pytest.raises(StorageError, match="larger than"), atomic_folder(tmp_path / "f") as folder:
        write(array, folder / "a.npy")
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize(
    "error",
    [
        OSError("10000 requested and 496 written"),  # NumPy
        SafetensorError("Error while serializing: I/O error: No space left (os error 28)"),
        RuntimeError("basic_ios::clear: iostream error"),  # OpenVINO
    ],
)
def test_a_library_that_removes_its_unfinished_file_is_understood(tmp_path, error):
    with pytest.raises(StorageError, match=r"no room, .* left"), atomic_file(tmp_path / "a"):
        raise error


def test_the_target_of_a_copy_is_named(tmp_path):
    error = OSError(errno.ENOSPC, "full", str(tmp_path / "in/source"), None, "/a/file")
    with pytest.raises(StorageError, match=r"^/a: no room"), atomic_file(tmp_path / "out/file"):
        raise error
    with pytest.raises(StorageError, match=f"^{tmp_path}: no room"):  # noqa: SIM117
        with atomic_folder(tmp_path / "out") as temporary:
            raise OSError(errno.ENOSPC, "full", "/source", None, str(temporary / "sub/file"))
    with pytest.raises(StorageError, match=f"^{tmp_path}: no room"):  # noqa: SIM117
        with atomic_folder(tmp_path / "out") as temporary, atomic_file(temporary / "file"):
            raise OSError(errno.ENOSPC, "full")


def test_a_full_folder_of_temporary_files_is_named(tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr(
        storage, "_try_to_write", {scratch: errno.ENOSPC, tmp_path: None}.__getitem__
    )
    with pytest.raises(StorageError, match=f"{scratch}: no room"), atomic_file(tmp_path / "a"):
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EROFS, "read-only"), (errno.EDQUOT, "quota"), (errno.EACCES, "permissions")],
)
def test_a_disk_that_does_not_permit_writing_is_named(tmp_path, number, words):
    path = tmp_path / "a.json"
    with pytest.raises(StorageError, match=words), atomic_file(path):
        raise OSError(number, os.strerror(number), str(path))


def test_an_error_of_another_kind_or_place_stays(tmp_path):
    for error in (
        FileNotFoundError(errno.ENOENT, "no"),
        PermissionError(errno.EACCES, "no", "/x"),
        RuntimeError("shapes differ"),
        Stopped("kept"),
    ):
        with pytest.raises(type(error)), atomic_file(tmp_path / "a.json"):
            raise error
