"""Inference runtimes. Each has one file here, named after the Python package that it uses.

The file defines ``load(package, path, threads)``, which returns a ``LoadedModel``. A new file
needs no registration.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
    try:
        adapter = importlib.import_module(f"{__name__}.{runtime}")
        return package.__version__, adapter.load(package, path, threads)
    except RuntimeProblem:
        raise
    except Exception as error:  # the runtimes have no common exception class
        problem = f"{runtime} cannot load it: {last_line(error)}"
        raise RuntimeProblem(path, problem, "export or unpack it again") from error


def _import_package(name: str) -> Any:
    telemetry.turn_off()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        problem = "is not installed" if error.name == name else last_line(error)
        raise RuntimeProblem(name, problem, f"pip install {name}") from None
    except ImportError as error:
        problem = f"cannot be imported: {last_line(error)}"
        raise RuntimeProblem(name, problem, f"reinstall {name}") from error
