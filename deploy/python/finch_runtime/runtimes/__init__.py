"""Inference runtimes. Each has one file here, named after the Python package that it uses.

The file defines ``load(package, path, threads)``, which returns a ``LoadedModel``, and may define
``find_needs(path)``, which returns ``Needs`` or None. A new file needs no registration.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from finch_runtime import telemetry
from finch_runtime.errors import RuntimeProblem, last_line

RUNTIMES = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ModelInput:
    """An input of a model; dimensions of ``shape`` are integers where they are fixed."""

    name: str
    is_uint8: bool
    shape: Sequence[int | str | None]


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory.

    Attributes:
        inputs: All inputs.
        outputs: Names of all outputs.
        settings: Runtime settings that affect speed or numerics.
        load_s: Time to load the model, in seconds.
        infer: Computes ``logits`` and ``probabilities`` of a batch of ``images``.
    """

    inputs: Sequence[ModelInput]
    outputs: Sequence[str]
    settings: Mapping[str, str]
    load_s: float
    infer: Callable[[Array], tuple[Array, Array]]


@dataclass(frozen=True)
class Needs:
    """What a model file needs of its runtime.

    Attributes:
        version: The oldest release of the package that can load the file; empty if it is newer than
            all releases known here.
        reason: The versions in the file, such as "it has ONNX opset 21".
    """

    version: str
    reason: str


def load_model(runtime: str, path: Path, threads: int) -> tuple[str, LoadedModel]:
    """Loads a model.

    Returns:
        Version of the runtime, and the model.

    Raises:
        RuntimeProblem: The runtime is unknown or not installed, or it cannot load the file.
    """
    if runtime not in RUNTIMES:
        raise RuntimeProblem("runtime", f"{runtime!r} is unknown", f"use {' or '.join(RUNTIMES)}")
    package = _import_package(runtime)
    adapter = importlib.import_module(f"{__name__}.{runtime}")
    try:
        return package.__version__, adapter.load(package, path, threads)
    except RuntimeProblem:
        raise
    except Exception as error:  # the runtimes have no common exception class
        installed = _installed_version(runtime)
        needs = find_needs(runtime, path)
        if needs is None or (needs.version and not is_older(installed, needs.version)):
            problem = f"{runtime} {installed} cannot load it: {last_line(error)}"
            raise RuntimeProblem(path, problem, "export or unpack it again") from error
        problem = f"{needs.reason}, but {runtime} {installed} is installed, which is too old for it"
        remedy = f"pip install '{runtime}>={needs.version}'"
        if not needs.version:
            remedy = f"pip install --upgrade {runtime}"
        raise RuntimeProblem(path, problem, remedy) from error


def find_needs(runtime: str, path: Path) -> Needs | None:
    """What a model file needs of its runtime; None if that is unknown."""
    adapter = importlib.import_module(f"{__name__}.{runtime}")
    find = getattr(adapter, "find_needs", None)
    return None if find is None else find(path)


def _installed_version(package: str) -> str:
    """Release of an installed package, without the build that OpenVINO appends."""
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:  # such as a variant of onnxruntime for accelerators
        version = str(getattr(importlib.import_module(package), "__version__", "unknown"))
    return version.partition("-")[0]


def is_older(version: str, other: str) -> bool:
    """Whether a release is older than another one, by the numbers in their versions."""
    first, second = (list(map(int, re.findall(r"\d+", each)))[:3] for each in (version, other))
    return first < second


def _import_package(name: str) -> Any:
    telemetry.turn_off()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        problem = "is not installed" if error.name == name else last_line(error)
        raise RuntimeProblem(name, problem, f"pip install {name}") from None
    except ImportError as error:
        # A release that was built with NumPy 1 fails with NumPy 2, without a message of its own.
        problem = f"cannot be imported: {last_line(error)} (with numpy {np.__version__})"
        remedy = f"reinstall {name}; or, if it is older than NumPy 2, pip install 'numpy<2'"
        raise RuntimeProblem(name, problem, remedy) from error
