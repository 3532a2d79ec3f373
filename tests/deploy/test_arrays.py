"""Images and logits in ``.npy`` files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finch_runtime.arrays import read_images, write_logits
from finch_runtime.errors import RuntimeProblem

Array = np.ndarray[Any, Any]


def test_images_are_memory_mapped(tmp_path: Path, images: Array) -> None:
    np.save(tmp_path / "images.npy", images)
    read = read_images(tmp_path / "images.npy")
    assert isinstance(read, np.memmap) and np.array_equal(read, images)


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


def test_logits_are_written_atomically(tmp_path: Path) -> None:
    logits = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    write_logits(tmp_path / "logits.npy", logits)
    assert np.array_equal(np.load(tmp_path / "logits.npy"), logits)
    (tmp_path / "folder").mkdir()
    for place in (tmp_path / "missing" / "logits.npy", tmp_path / "folder"):
        with pytest.raises(RuntimeProblem, match="cannot be written"):
            write_logits(place, logits)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "logits.npy"]
