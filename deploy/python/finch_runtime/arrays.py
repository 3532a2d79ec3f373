"""Images and logits as ``.npy`` files."""

from __future__ import annotations

import io
import math
import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from finch_runtime.errors import RuntimeProblem, last_line
from finch_runtime.regular import why_unreadable
from finch_runtime.rows import Rows
from finch_runtime.runtimes import Array

_ELSEWHERE = "choose another path"


def read_images(path: Path) -> Rows:
    """Opens images, uint8 [n, height, width, 3 or 1], which are read when they are used.

    Raises:
        RuntimeProblem: The file is missing, not a regular file, damaged, or contains another type
            of array.
    """
    unreadable = why_unreadable(path)
    if unreadable is not None:
        raise RuntimeProblem(path, unreadable, "check the path")
    try:
        with path.open("rb") as file:
            shape = _read_header(path, file)
            offset, size = file.tell(), os.fstat(file.fileno()).st_size
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        raise RuntimeProblem(path, problem, "check the file's permissions") from None
    if size < offset + math.prod(shape):
        problem = f"not a complete .npy file: it has no room for {list(shape)} bytes"
        raise RuntimeProblem(path, problem, "write it again")
    return Rows(path, offset, shape)


def _read_header(path: Path, file: BinaryIO) -> tuple[int, ...]:
    if file.read(4) == b"PK\3\4":
        raise RuntimeProblem(path, "contains several arrays", "save the images as .npy, not .npz")
    file.seek(0)
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
        else:
            shape, by_columns, dtype = np.lib.format.read_array_header_2_0(file)
    except OSError:
        raise
    except Exception as error:  # a header is a Python literal, nested as deeply as it likes
        problem = f"not a complete .npy file: {last_line(error)}"
        raise RuntimeProblem(path, problem, "write it again") from error
    is_usable = len(shape) == 4 and shape[3] in (1, 3)
    is_usable = is_usable and all(type(n) is int and n > 0 for n in shape)
    if dtype != np.uint8 or not is_usable or by_columns:
        order = " in Fortran order" if by_columns else ""
        remedy = "save images as uint8 [n, height, width, 3 or 1] in C order, n at least 1"
        raise RuntimeProblem(path, f"contains {dtype} {list(shape)}{order}", remedy)
    return tuple(shape)


def check_output(path: Path, inputs: Iterable[Path]) -> None:
    """Refuses a place for results before the work starts.

    Args:
        path: The file to write.
        inputs: Files that are read; neither they nor links to them may be replaced.

    Raises:
        RuntimeProblem: The path is unusable, is no regular file, or is one of the inputs.
    """
    target = _target(path)
    for each in inputs:
        if why_unreadable(each) is None and target.exists() and each.samefile(target):
            raise RuntimeProblem(path, "is an input of the same command", _ELSEWHERE)


def write_logits(path: Path, logits: Array) -> None:
    """Writes float32 [n, classes] atomically; a link stays, and the file that it names changes.

    Raises:
        RuntimeProblem: The file cannot be written, or something other than a regular file is there.
    """
    target = _target(path)
    content = io.BytesIO()
    np.save(content, logits, allow_pickle=False)
    partial = target.with_name(f".finch-{secrets.token_hex(8)}.part")  # fits where `path` fits
    try:
        with partial.open("xb") as file:
            file.write(content.getbuffer())
        partial.replace(target)
    except OSError as error:
        raise RuntimeProblem(path, f"cannot be written: {error.strerror}", _ELSEWHERE) from None
    finally:
        partial.unlink(missing_ok=True)


def _target(path: Path) -> Path:
    """The regular file, as yet missing or not, that a path names."""
    # Renaming would replace a pipe or device node, which others hold open.
    try:
        target = Path(os.path.realpath(path))
        is_file = stat.S_ISREG(target.lstat().st_mode)
    except FileNotFoundError:
        is_file = True
    except OSError as error:  # a loop of links, a name that is too long, no permission
        raise RuntimeProblem(path, f"cannot be written: {error.strerror}", _ELSEWHERE) from None
    except ValueError:  # a null character or a surrogate
        raise RuntimeProblem(path, "is not a name of a file", _ELSEWHERE) from None
    if not is_file or not path.name:
        raise RuntimeProblem(path, "cannot be written: not a regular file", _ELSEWHERE)
    if not target.parent.is_dir():
        raise RuntimeProblem(path, "cannot be written: its folder is missing", _ELSEWHERE)
    return target
