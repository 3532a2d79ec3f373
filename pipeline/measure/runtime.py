"""Runs a model in a process of its own, through the runtime that also runs it on a device."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.errors import MeasurementError

# Settings of a shell or a stage that would change how a model runs, unseen.
_FOREIGN = ("PYTHON", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "TBB_", "ORT_", "OV_")
_THREAD_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class MeasuredModel:
    """A model file and what runs it.

    Attributes:
        path: ``model.onnx``, or ``model.xml`` with ``model.bin`` beside it.
        runtime: Inference runtime.
    """

    path: Path
    runtime: Literal["onnxruntime", "openvino"]

    @property
    def arguments(self) -> list[str]:
        """How the device runtime is told of it."""
        return ["--model", str(self.path.resolve()), "--runtime", self.runtime]


@dataclass(frozen=True)
class UnpackedBundle:
    """A bundle's folder: the manifest in it names model and runtime."""

    path: Path

    @property
    def arguments(self) -> list[str]:
        """How the device runtime is told of it."""
        return ["--bundle", str(self.path.resolve())]


def run_model(
    command: Literal["predict", "bench"],
    model: MeasuredModel | UnpackedBundle,
    images_path: Path,
    arguments: Sequence[str],
    *,
    threads: int,
    runtime_folder: Path,
) -> str:
    """Starts ``python -m finch_runtime`` on a model and waits for it.

    Args:
        command: What the runtime is to do.
        model: What it runs.
        images_path: ``.npy`` file, uint8 [n, height, width, 3].
        arguments: Further arguments of the command.
        threads: Threads of the inference runtime.
        runtime_folder: Folder that holds the package ``finch_runtime``.

    Returns:
        What the process wrote to its standard output.

    Raises:
        MeasurementError: The process failed; the message names the model and says why. Or the
            folder holds no runtime.
    """
    if not (runtime_folder / "finch_runtime" / "__main__.py").is_file():
        # Without this look, Python would quietly take the package from elsewhere.
        raise MeasurementError(runtime_folder, "holds no device runtime, package finch_runtime")
    line = [sys.executable, "-m", "finch_runtime", command, *model.arguments]
    line += ["--threads", str(threads), "--images", str(images_path.resolve()), *arguments]
    done = subprocess.run(
        line,
        env=_environment(threads, runtime_folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        said = _last_words(done).removeprefix(f"{model.path.resolve()}: ")
        raise MeasurementError(model.path, f"could not be run: {said}")
    return done.stdout


def _environment(threads: int, runtime_folder: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}
    return kept | {
        # The package comes from this folder alone, not from the current one, and stays clean.
        "PYTHONPATH": str(runtime_folder.resolve()),
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
        **dict.fromkeys(_THREAD_COUNTS, str(threads)),
    }


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode < 0:
        return f"its process was ended by {signal.Signals(-done.returncode).name}"
    lines = done.stderr.strip().splitlines()
    last = lines[-1] if lines else f"its process ended with code {done.returncode}, without a word"
    return last.removeprefix("finch_runtime: ")
