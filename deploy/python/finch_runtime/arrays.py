"""Images and logits as ``.npy`` files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from finch_runtime.errors import RuntimeProblem, last_line
from finch_runtime.runtimes import Array


def read_images(path: Path) -> Array:
    """Memory-maps images, uint8 [n, height, width, 3], RGB.

    Raises:
        RuntimeProblem: The file is missing, damaged, or contains another type of array.
    """
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise RuntimeProblem(path, "no such file", "check the path") from None
    except (OSError, ValueError, EOFError) as error:
        problem = f"not a complete .npy file: {last_line(error)}"
        raise RuntimeProblem(path, problem, "write it again") from error
    if not isinstance(images, np.ndarray):
        raise RuntimeProblem(path, "contains several arrays", "save the images as .npy, not .npz")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or len(images) == 0:
        remedy = "save images as uint8 [n, height, width, 3], n at least 1"
        raise RuntimeProblem(path, f"contains {images.dtype} {list(images.shape)}", remedy)
    return images


def write_logits(path: Path, logits: Array) -> None:
    """Writes float32 [n, classes] atomically."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            np.save(file, logits, allow_pickle=False)
        partial.replace(path)
    except OSError as error:
        raise RuntimeProblem(path, f"cannot be written: {error}", "choose another path") from error
    finally:
        partial.unlink(missing_ok=True)
