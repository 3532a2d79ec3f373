"""Runs a model in a process of its own, through the runtime that also runs it on a device."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.errors import MeasurementError
from pipeline.measure.devices.device import Device, Ended, Files
from pipeline.measure.devices.local import ThisMachine

THIS_MACHINE = ThisMachine()


@dataclass(frozen=True)
class MeasuredModel:
    """A model file and what runs it.

    Attributes:
        path: ``model.onnx``, or ``model.xml`` with ``model.bin`` beside it.
        runtime: Inference runtime.
    """

    path: Path
    runtime: Literal["onnxruntime", "openvino"]

    def place(self, device: Device) -> str:
        """Sees to it that it is there, and says where."""
        path = self.path.resolve()
        names = [path.name, *([f"{path.stem}.bin"] if path.suffix == ".xml" else [])]
        return f"{device.place(Files(path.parent, tuple(names)))}/{path.name}"

    def arguments(self, place: str) -> list[str]:
        """How the device runtime is told of it."""
        return ["--model", place, "--runtime", self.runtime]


@dataclass(frozen=True)
class UnpackedBundle:
    """A bundle's folder: the manifest in it names model and runtime."""

    path: Path

    def place(self, device: Device) -> str:
        """Sees to it that it is there, and says where."""
        return device.place(_all_below(self.path.resolve(), "."))

    def arguments(self, place: str) -> list[str]:
        """How the device runtime is told of it."""
        return ["--bundle", place]


def run_model(
    command: Literal["predict", "bench"],
    model: MeasuredModel | UnpackedBundle,
    images_path: Path,
    arguments: Sequence[str],
    *,
    threads: int,
    runtime_folder: Path,
    device: Device = THIS_MACHINE,
    out: Path | None = None,
) -> str:
    """Runs ``python -m finch_runtime`` on a model and waits for it.

    Args:
        command: What the runtime is to do.
        model: What it runs.
        images_path: ``.npy`` file, uint8 [n, height, width, 3].
        arguments: Further arguments of the command.
        threads: Threads of the inference runtime.
        runtime_folder: Folder that holds the package ``finch_runtime``.
        device: Where; what is needed there is copied.
        out: Where the file comes to that the command writes, if it writes one.

    Returns:
        What the process wrote to its standard output.

    Raises:
        MeasurementError: The process failed; the message names the model and says why. Or the
            folder holds no runtime.
        DeviceError: The device failed.
    """
    place = model.place(device)
    line = [command, *model.arguments(place)]
    ended = _run(line, images_path, arguments, threads, runtime_folder, device, out)
    if ended.code:
        said = _last_words(ended).removeprefix(f"{place}: ")
        raise MeasurementError(model.path, f"could not be run: {said}")
    return ended.stdout


def run_side_by_side(
    models: Sequence[MeasuredModel],
    images_path: Path,
    arguments: Sequence[str],
    *,
    threads: int,
    runtime_folder: Path,
    device: Device = THIS_MACHINE,
) -> str:
    """Runs ``python -m finch_runtime compare`` on several models, and is else as ``run_model``.

    Raises:
        MeasurementError: It failed; the message names the model that it was about.
        DeviceError: The device failed.
    """
    places = [model.place(device) for model in models]
    told = [f"{model.runtime}={place}" for model, place in zip(models, places, strict=True)]
    ended = _run(["compare", *told], images_path, arguments, threads, runtime_folder, device, None)
    if ended.code:
        said = _last_words(ended)
        for model, place in zip(models, places, strict=True):
            if said.startswith(f"{place}: "):
                said = said.removeprefix(f"{place}: ")
                raise MeasurementError(model.path, f"could not be run: {said}")
        raise MeasurementError("models side by side", f"could not be run: {said}")
    return ended.stdout


def _run(
    line: Sequence[str],
    images_path: Path,
    arguments: Sequence[str],
    threads: int,
    runtime_folder: Path,
    device: Device,
    out: Path | None,
) -> Ended:
    if not (runtime_folder / "finch_runtime" / "__main__.py").is_file():
        # Without this look, Python would quietly take the package from elsewhere.
        raise MeasurementError(runtime_folder, "holds no device runtime, package finch_runtime")
    package = device.place(runtime_files(runtime_folder))
    images = images_path.resolve()
    placed = f"{device.place(Files(images.parent, (images.name,)))}/{images.name}"
    words = [*line, "--threads", str(threads), "--images", placed, *arguments]
    return device.run(words, package=package, threads=threads, out=out)


def runtime_files(runtime_folder: Path) -> Files:
    """The package ``finch_runtime`` in the folder that holds it."""
    return _all_below(runtime_folder, "finch_runtime")


def _all_below(folder: Path, start: str) -> Files:
    paths = (p for p in (folder / start).rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return Files(folder, tuple(sorted(path.relative_to(folder).as_posix() for path in paths)))


def _last_words(ended: Ended) -> str:
    if ended.code < 0:
        return f"its process was ended by {signal.Signals(-ended.code).name}"
    lines = ended.stderr.strip().splitlines()
    last = lines[-1] if lines else f"its process ended with code {ended.code}, without a word"
    return last.removeprefix("finch_runtime: ")
