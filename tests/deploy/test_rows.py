"""Rows of a file against the array that was written, and the memory that they take."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finch_runtime.arrays import read_images
from finch_runtime.errors import RuntimeProblem
from hypothesis import given
from hypothesis import strategies as st

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Array]:
    images = np.random.default_rng(0).integers(0, 256, (9, 5, 4, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("rows") / "images.npy"
    np.save(path, images)
    return path, images


@given(index=st.slices(9))
def test_a_slice_has_the_rows_of_the_array(written: tuple[Path, Array], index: slice) -> None:
    path, images = written
    np.testing.assert_array_equal(read_images(path)[index], images[index])


@given(index=st.lists(st.integers(-9, 8)))
def test_indices_have_the_rows_of_the_array(written: tuple[Path, Array], index: list[int]) -> None:
    path, images = written
    chosen = np.array(index, dtype=np.intp)
    np.testing.assert_array_equal(read_images(path)[chosen], images[chosen])


def test_an_index_beyond_the_end_is_an_error(written: tuple[Path, Array]) -> None:
    with pytest.raises(IndexError):
        read_images(written[0])[np.array([9])]


def test_a_file_that_becomes_shorter_is_named(tmp_path: Path, written: tuple[Path, Array]) -> None:
    path = tmp_path / "images.npy"
    np.save(path, written[1])
    rows = read_images(path)
    path.write_bytes(path.read_bytes()[:-1])
    np.testing.assert_array_equal(rows[:8], written[1][:8])
    with pytest.raises(RuntimeProblem, match="became shorter") as caught:
        rows[8:]
    assert caught.value.thing == path


# Reads every image of a file of 48 MiB one by one; prints how much the peak has grown.
PROGRAM = """\
import sys
from pathlib import Path
from finch_runtime.arrays import read_images
from finch_runtime.usage import peak_bytes
rows = read_images(Path(sys.argv[1]))
rows[:1]
before = peak_bytes()
for i in range(len(rows)):
    rows[i : i + 1]
print(peak_bytes() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="VmHWM")
def test_images_that_were_read_are_not_memory_of_the_process(tmp_path: Path) -> None:
    path = tmp_path / "images.npy"
    np.save(path, np.zeros((256, 256, 256, 3), np.uint8))
    words = [sys.executable, "-c", PROGRAM, str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2 << 20
