"""Runs models with the device runtime ``finch_runtime``, each request in a new process."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from typing import TypeVar

import numpy as np
from finch_runtime import protocol
from finch_runtime.errors import RuntimeProblem
from finch_runtime.protocol import ComparePlan, CompareRequest
from numpy.typing import NDArray

from pipeline.errors import ArtifactError, MeasurementError
from pipeline.files import open_array
from pipeline.measure.devices.device import Device, Files, ThisMachine
from pipeline.measure.devices.remote_runner import content_key

Result = TypeVar("Result", protocol.PredictResult, protocol.BenchmarkResult, protocol.CompareResult)


@dataclass(frozen=True)
class MeasuredModel:
    """A model to run.

    Attributes:
        path: Model file, or the folder of an unpacked bundle. Files beside a model file that have
            the same stem belong to it, such as ``model.bin`` of ``model.xml``.
        runtime: Inference runtime; None for a bundle, whose manifest names it.
        images: Images of the size of this model's input, in place of those that the methods of
            ``DeviceRuntime`` get; None if those fit.
    """

    path: Path
    runtime: str | None
    images: Path | None = None

    def copy_to(self, device: Device) -> protocol.ModelSource:
        """Ensures that the model is on the device, with its images if it has its own."""
        path = self.path.resolve()
        images = None if self.images is None else _copy_images(self.images, device)
        if self.runtime is None:
            return protocol.ModelSource(device.place(_files_below(path, ".")), images=images)
        names = {p.name for p in path.parent.iterdir() if p.name.startswith(f"{path.stem}.")}
        files = Files(path.parent, tuple(sorted({path.name, *names})))
        return protocol.ModelSource(f"{device.place(files)}/{path.name}", self.runtime, images)


@dataclass(frozen=True)
class DeviceRuntime:
    """The device runtime on a device.

    In all methods, ``images`` is a ``.npy`` file, uint8 [n, height, width, channels], and
    ``threads`` the number of threads of the inference runtime. They raise MeasurementError, whose
    subject is the model's path, if a model cannot be run, and DeviceError if the device fails.

    Attributes:
        folder: Local folder that contains the package ``finch_runtime``.
        device: Device to run on. Models, images and the package are copied to it.
    """

    folder: Path
    device: Device = field(default_factory=ThisMachine)

    def predict(self, model: MeasuredModel, images: Path, threads: int) -> NDArray[np.float32]:
        """Computes the logits of all images, float32 [n, classes]; all are finite."""
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder, "logits.npy")
            request = protocol.PredictRequest(
                model.copy_to(self.device), _copy_images(images, self.device), threads, str(out)
            )
            result = self._run(request, [model], protocol.PredictResult)
            try:
                logits: NDArray[np.float32] = np.array(open_array(out))
            except ArtifactError as error:
                problem = f"its logits are unreadable: {error.problem}"
                raise MeasurementError(model.path, problem) from None
        expected = (result.images, result.classes)
        if logits.dtype != np.float32 or logits.shape != expected or 0 in expected:
            found = f"{logits.dtype} {list(logits.shape)}, not float32 {list(expected)}"
            raise MeasurementError(model.path, f"its logits are {found}")
        broken = int(np.sum(~np.isfinite(logits).all(axis=-1)))
        if broken:
            raise MeasurementError(
                model.path, f"its logits are not finite for {broken} of {len(logits)} images"
            )
        return logits

    def benchmark(
        self, model: MeasuredModel, images: Path, threads: int, plan: protocol.BenchmarkPlan
    ) -> protocol.BenchmarkResult:
        """Measures one model."""
        request = protocol.BenchmarkRequest(
            model.copy_to(self.device), _copy_images(images, self.device), threads, plan
        )
        result = self._run(request, [model], protocol.BenchmarkResult)
        if [len(turn) for turn in result.timing.turns] != [plan.runs]:
            raise MeasurementError(model.path, "device runtime returned too few runs")
        return result

    def compare(
        self, models: Sequence[MeasuredModel], images: Path, threads: int, plan: ComparePlan
    ) -> protocol.CompareResult:
        """Times several models in alternation."""
        sources = [model.copy_to(self.device) for model in models]
        request = CompareRequest(sources, _copy_images(images, self.device), threads, plan)
        result = self._run(request, models, protocol.CompareResult)
        for model, timing in zip(models, result.models, strict=False):
            sizes = [len(turn) for turn in timing.turns]
            if sizes != [plan.runs] * plan.turns or np.min(timing.turns) <= 0:
                raise MeasurementError(model.path, f"device runtime returned turns of {sizes} runs")
        if len(result.models) != len(models):
            raise MeasurementError("device runtime", "returned too few timings")
        return result

    def files(self) -> Files:
        """The files of the package.

        Raises:
            MeasurementError: The folder does not contain the package.
        """
        if not (self.folder / "finch_runtime" / "__main__.py").is_file():
            # Otherwise Python would import an installed package of the same name.
            raise MeasurementError(self.folder, "does not contain the package finch_runtime")
        return _files_below(self.folder, "finch_runtime")

    def content_hash(self) -> str:
        """SHA-256 of the names and contents of the package's files, as 64 hex digits."""
        package = self.files()
        return content_key(package.folder, package.names)

    def _run(
        self, request: protocol.Request, models: Sequence[MeasuredModel], kind: type[Result]
    ) -> Result:
        completed = self.device.run(request, self.device.place(self.files()))
        if completed.returncode:
            sources = request.models if isinstance(request, CompareRequest) else [request.model]
            raise _failure(completed, models, [source.path for source in sources])
        try:
            return protocol.from_json(completed.stdout, kind)
        except RuntimeProblem as problem:
            subject = models[0].path if len(models) == 1 else "device runtime"
            raise MeasurementError(subject, f"returned no valid result: {problem}") from None


def _copy_images(images: Path, device: Device) -> str:
    images = images.resolve()
    return f"{device.place(Files(images.parent, (images.name,)))}/{images.name}"


def _files_below(folder: Path, start: str) -> Files:
    paths = (p for p in (folder / start).rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return Files(folder, tuple(sorted(path.relative_to(folder).as_posix() for path in paths)))


def _failure(
    completed: CompletedProcess[str], models: Sequence[MeasuredModel], paths: Sequence[str]
) -> MeasurementError:
    """The error of a failed process; the last line of its stderr starts with the model's path."""
    if completed.returncode < 0:
        message = f"its process was ended by {signal.Signals(-completed.returncode).name}"
    else:
        lines = completed.stderr.strip().splitlines()
        message = lines[-1] if lines else f"its process exited with code {completed.returncode}"
    message = message.removeprefix("finch_runtime: ")
    for model, path in zip(models, paths, strict=True):
        if message.startswith(f"{path}: ") or len(models) == 1:
            reason = message.removeprefix(f"{path}: ")
            return MeasurementError(model.path, f"could not be run: {reason}")
    return MeasurementError("comparison of models", f"could not be run: {message}")
