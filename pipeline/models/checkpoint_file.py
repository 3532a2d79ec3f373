"""Reads files of weights: safetensors, and checkpoints that ``torch.save`` wrote."""

from __future__ import annotations

import argparse
import datetime
import json
import pickle
import pickletools
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
import torch
from numpy._core import multiarray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from pipeline.errors import ParameterError, one_line

# Averaged weights come first, as in timm's `load_checkpoint`.
AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema", "params_ema")
SECTIONS = (
    *AVERAGED,
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "weights",
    "params",
    "teacher",
    "student",
    "module",
)
"""Keys of a checkpoint below which the weights are looked for, first match first."""

_MAX_UNPACKED = 10  # times the size of the file; torch.save does not compress

_MAX_DEPTH = 3  # of the weights in nested sections


def _without_factory(*arguments: Any) -> OrderedDict[Any, Any]:
    """An empty mapping in place of a ``defaultdict``, whose default is not needed."""
    return OrderedDict()


# Types without behavior that training programs save next to the weights. The other names are read
# as the plain type, so their packages need not be installed.
_PLAIN_TYPES: list[Any] = [
    argparse.Namespace,
    datetime.date,
    datetime.datetime,
    datetime.timedelta,
    np.dtype,
    np.ndarray,
    *(type(np.dtype(code)) for code in "?bBhHiIlLqQefdSU"),
    (multiarray.scalar, "numpy.core.multiarray.scalar"),
    (multiarray.scalar, "numpy._core.multiarray.scalar"),
    (multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),
    (multiarray._reconstruct, "numpy._core.multiarray._reconstruct"),
    (_without_factory, "collections.defaultdict"),
    *((kind, f"builtins.{kind.__name__}") for kind in (dict, float, int, list, str, tuple)),
    *((PurePosixPath, f"pathlib.{name}") for name in ("PosixPath", "WindowsPath")),
    *((PurePosixPath, f"pathlib._local.{name}") for name in ("PosixPath", "WindowsPath")),
    *(
        (OrderedDict, f"{package}.AttributeDict")
        for package in (
            "lightning_fabric.utilities.data",
            "lightning.fabric.utilities.data",
            "pytorch_lightning.utilities.parsing",
            "lightning.pytorch.utilities.parsing",
        )
    ),
]

_RUN_COMMANDS = {"os", "posix", "nt", "subprocess", "sys", "runpy", "socket", "shutil", "pty"}

_PLAIN_NAMES = {
    "_codecs.encode",
    "argparse.Namespace",
    "builtins.bytearray",
    "builtins.complex",
    "builtins.set",
    "collections.Counter",
    "collections.OrderedDict",
}

# Start of the content of other files, what they are, and what to do.
_SAVE_TENSORS = "torch.save(model.state_dict(), 'weights.pth')"
_CONVERT = f"load it in its own framework, and save a PyTorch model with {_SAVE_TENSORS}"
_OTHER_CONTENT = (
    (rb"version https://git-lfs", "is a Git LFS pointer, not the file", "run `git lfs pull`"),
    (rb"\s*<(!doctype|html|\?xml)", "is a web page or XML", "download the file of weights again"),
    (rb"\x89HDF\r\n", "is an HDF5 file of Keras or TensorFlow", _CONVERT),
    (rb".{4}TFL3", "is a TensorFlow Lite model", "use the PyTorch weights that it was made from"),
    (rb"GGUF", "is a GGUF file", "use the PyTorch weights that it was made from"),
    (rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!|\x28\xb5\x2f\xfd", "is compressed", "unpack it"),
    (rb".{257}ustar", "is a tar archive", "unpack it"),
    (rb"\x93NUMPY", "is a NumPy array", f"save PyTorch weights with {_SAVE_TENSORS}"),
    (rb"\x08[\x01-\x20][\x12\x1a\x22\x2a\x32\x3a]", "is an ONNX model", "use the PyTorch weights"),
    (rb"[\x81-\x8f\xde\xdf].{0,4}[\xa1-\xbf\xd9]", "is a MessagePack file of Flax", _CONVERT),
)


@dataclass(frozen=True)
class WeightsFile:
    """The content of a file of weights.

    Attributes:
        tensors: Tensors on the CPU, by name.
        section: Key of the checkpoint that holds the tensors, such as ``state_dict``; empty if
            they are at the top.
        entries: Everything else: the other keys of a checkpoint, or the metadata of safetensors.
    """

    tensors: Mapping[str, Tensor]
    section: str
    entries: Mapping[str, Any]


def read_weights(path: Path) -> WeightsFile:
    """Reads the tensors of a file, whose kind its content decides and not its name.

    Nothing is executed: checkpoints are read with ``torch.load(weights_only=True)``.

    Raises:
        ParameterError: The file is missing, damaged, of another kind, or needs code to be read.
    """
    try:
        if path.is_dir():
            raise ParameterError(path, "is a folder", "set `weights` to the file in it")
        if path.exists() and not path.is_file():
            raise ParameterError(path, "is not a regular file", "correct `weights`")
        with path.open("rb") as file:
            start = file.read(512)
        size = path.stat().st_size
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise ParameterError(path, problem, "correct `weights`") from None
    if not start:
        raise ParameterError(path, "is empty", "copy or download it again")
    length = int.from_bytes(start[:8], "little")
    if start[8:9] == b"{" and length < 2**32:
        return _read_safetensors(path)
    for pattern, problem, remedy in _OTHER_CONTENT:
        if re.match(pattern, start, re.DOTALL | re.IGNORECASE):
            raise ParameterError(path, problem, remedy)
    if start.startswith(b"PK\x03\x04"):
        return _read_checkpoint(path, mmap=_check_archive(path, size))
    if start.startswith(b"\x80"):
        return _read_checkpoint(path, mmap=False)
    problem = "is neither safetensors nor a PyTorch checkpoint"
    raise ParameterError(path, problem, f"save the weights with {_SAVE_TENSORS}")


def _read_safetensors(path: Path) -> WeightsFile:
    try:
        with safe_open(path, "pt") as file:
            entries = {key: _parsed(text) for key, text in (file.metadata() or {}).items()}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        problem = f"is truncated, or not safetensors ({one_line(error)})"
        raise ParameterError(path, problem, "copy or download it again") from None
    return WeightsFile(tensors, "", entries)


def _parsed(text: str) -> Any:
    """The JSON value of a metadata text, or the text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _check_archive(path: Path, size: int) -> bool:
    """Whether a ZIP archive of ``torch.save`` can be mapped into memory.

    Raises:
        ParameterError: It is truncated, a bomb, or another kind of archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        problem = f"is truncated, or a damaged archive ({one_line(error)})"
        raise ParameterError(path, problem, "copy or download it again") from None
    unpacked = sum(record.file_size for record in records)
    if unpacked > _MAX_UNPACKED * size:
        problem = f"is an archive of {size:,} bytes that unpacks to {unpacked:,} bytes"
        raise ParameterError(path, problem, f"save the weights with {_SAVE_TENSORS}")
    names = [record.filename for record in records]
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        problem, save = "is a TorchScript archive", "torch.save(model.state_dict(), 'weights.pth')"
        remedy = f"load it with torch.jit.load, and save its tensors with {save}"
    elif any(name.endswith(".npy") for name in names):
        problem, remedy = "is a NumPy archive, such as weights of Flax", _CONVERT
    elif any(name.endswith(".weights.h5") for name in names):
        problem, remedy = "is a Keras model", _CONVERT
    elif not any(name.endswith("/data.pkl") or name == "data.pkl" for name in names):
        problem = "is an archive, but not one of torch.save"
        remedy = "unpack it, and set `weights` to the file of weights"
    else:
        return all(record.compress_type == zipfile.ZIP_STORED for record in records)
    raise ParameterError(path, problem, remedy)


def _read_checkpoint(path: Path, *, mmap: bool) -> WeightsFile:
    try:
        with torch.serialization.safe_globals(_PLAIN_TYPES), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old checkpoints: storage types and protocols
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        raise _refused(path, error) from None
    except Exception as error:  # damaged content raises nearly any type
        problem = f"is truncated, or not a PyTorch checkpoint ({one_line(error)})"
        raise ParameterError(path, problem, "copy or download it again") from None
    if not isinstance(content, Mapping):
        problem = f"holds a {type(content).__name__}, not tensors by name"
        raise ParameterError(path, problem, f"save the weights with {_SAVE_TENSORS}")
    if found := _find_tensors(content):
        return found
    held = ", ".join([str(key) for key in content][:8]) or "nothing"
    problem = f"holds no tensors by name, but {held}"
    raise ParameterError(path, problem, f"save the weights with {_SAVE_TENSORS}")


def _find_tensors(content: Mapping[Any, Any], depth: int = 0) -> WeightsFile | None:
    """The weights in a checkpoint, with everything around them as entries."""
    entries = {str(key): value for key, value in content.items()}
    found = _find_sections(entries, SECTIONS, depth)
    tensors = {n: value.detach() for n, value in entries.items() if isinstance(value, Tensor)}
    if not found and not tensors:
        found = _find_sections(entries, [key for key in entries if "optim" not in key], depth)
        if len(found) > 1:
            return None  # nothing says which of them is meant
    if not found:
        others = {name: entry for name, entry in entries.items() if name not in tensors}
        return WeightsFile(tensors, "", others) if tensors else None
    key, inner = next(iter(found.items()))
    section = ".".join(filter(None, (key, inner.section)))
    others = {name: entry for name, entry in entries.items() if name != key}
    return WeightsFile(inner.tensors, section, {**inner.entries, **others})


def _find_sections(
    entries: Mapping[str, Any], keys: Sequence[str], depth: int
) -> dict[str, WeightsFile]:
    """The weights below each of the keys, in the order of the keys."""
    found = {}
    for key in keys if depth < _MAX_DEPTH else ():
        value = entries.get(key)
        if isinstance(value, Mapping) and (inner := _find_tensors(value, depth + 1)):
            found[key] = inner
    return found


def _refused(path: Path, error: pickle.UnpicklingError) -> ParameterError:
    """The error for a checkpoint with objects that only their own code can load."""
    names = [name for name in _global_names(path) if not _is_plain(name)]
    packages = {name.partition(".")[0] for name in names}
    listed = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    if any(name.startswith(("ultralytics.", "models.yolo.")) for name in names):
        problem = f"is a whole pickled model of ultralytics ({listed}), which is not loaded"
        remedy = "its network is in neither timm nor torchvision; choose another `model`"
        return ParameterError(path, problem, remedy)
    if any(name.startswith(("fastai.", "fastcore.", "fasttransform.")) for name in names):
        problem = f"is a pickled fastai learner ({listed}), which is not loaded"
        remedy = "where fastai is installed: torch.save(learner.model.state_dict(), 'weights.pth')"
        return ParameterError(path, problem, remedy)
    if any(name.startswith(("torch.nn.modules.", "torch.fx.")) for name in names):
        problem = f"is a whole pickled model ({listed}), which is not loaded, since that runs code"
        remedy = f"where its class is available: {_SAVE_TENSORS}"
        return ParameterError(path, problem, remedy)
    if "Unsupported operand" in str(error):
        problem = "was saved with another pickle protocol than the default of torch.save"
        return ParameterError(path, problem, f"save the weights with {_SAVE_TENSORS}")
    if not names:
        problem = "is truncated, or holds more than tensors and plain values"
        return ParameterError(path, problem, f"save the weights with {_SAVE_TENSORS}")
    if packages & _RUN_COMMANDS:
        problem = f"runs commands when it is loaded ({listed}), and was not loaded"
        return ParameterError(path, problem, "do not load it with any other program")
    problem = f"holds objects besides tensors ({listed}), which are not loaded"
    remedy = (
        "if you trust it, save its tensors alone: torch.save(torch.load(FILE, "
        "weights_only=False)['state_dict'], 'weights.pth')"
    )
    return ParameterError(path, problem, remedy)


def _is_plain(name: str) -> bool:
    """Whether torch reads objects of this type with ``weights_only=True``."""
    if name.startswith("torch."):
        return not name.startswith(("torch.nn.modules.", "torch.fx.", "torch.optim."))
    known = {entry[1] for entry in _PLAIN_TYPES if isinstance(entry, tuple)}
    return name in known | _PLAIN_NAMES or name.startswith("numpy.")


def _global_names(path: Path) -> list[str]:
    """Names of the classes and functions in the pickles of a checkpoint, which are not loaded."""
    found: dict[str, None] = {}
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                (name,) = [n for n in archive.namelist() if n.rpartition("/")[2] == "data.pkl"]
                with archive.open(name) as file:
                    found.update(dict.fromkeys(_globals_of(file)))
        else:  # magic number, protocol, facts of the system, content
            with path.open("rb") as file:
                for _ in range(4):
                    found.update(dict.fromkeys(_globals_of(file)))
    except (ValueError, OSError, zipfile.BadZipFile):
        pass  # the names so far are enough for a message
    return list(found)


def _globals_of(file: IO[bytes]) -> Iterator[str]:
    for code, value, _ in pickletools.genops(file):
        if code.name == "GLOBAL" and isinstance(value, str):
            yield value.replace(" ", ".").replace("__builtin__.", "builtins.", 1)
