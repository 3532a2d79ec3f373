"""A model, opened by one of the inference runtimes and held to the input and output contract."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from finch_runtime import telemetry
from finch_runtime.errors import RuntimeProblem, said_by

RUNTIMES = ("onnxruntime", "openvino")

Array = np.ndarray[Any, Any]
Infer = Callable[[Array], tuple[Array, Array]]


@dataclass(frozen=True)
class Session:
    """A model that is ready to run.

    Attributes:
        model: The model's file.
        runtime: ``onnxruntime`` or ``openvino``.
        runtime_version: Version of that package.
        threads: Threads that one inference may use.
        settings: What the runtime was told, or says of itself, that bears on speed or numbers.
        size: Height and width of the images, in pixels.
        fixed_batch: Whether the model takes exactly one image at a time.
        load_s: Seconds from the file to a model ready to run, without importing the runtime.
    """

    model: Path
    runtime: str
    runtime_version: str
    threads: int
    settings: Mapping[str, str]
    size: int
    fixed_batch: bool
    load_s: float
    infer: Infer

    def run(self, images: Array) -> tuple[Array, Array]:
        """Run one batch.

        Args:
            images: uint8 [batch, size, size, 3], RGB; batch is 1 where ``fixed_batch``.

        Returns:
            Logits and probabilities, each float32 [batch, classes].

        Raises:
            RuntimeProblem: The images do not fit the model, or the runtime failed.
        """
        self._check(images)
        try:
            logits, probabilities = self.infer(images)
        except Exception as error:  # the runtimes share no class of errors
            raise RuntimeProblem(
                self.model, f"{self.runtime} failed: {said_by(error)}", "make the model again"
            ) from error
        return logits.astype(np.float32, copy=False), probabilities.astype(np.float32, copy=False)

    def _check(self, images: Array) -> None:
        wanted = f"uint8 [{'1' if self.fixed_batch else 'batch'}, {self.size}, {self.size}, 3]"
        batch_fits = images.ndim == 4 and (
            images.shape[0] == 1 if self.fixed_batch else images.shape[0] >= 1
        )
        if (
            images.dtype != np.uint8
            or not batch_fits
            or images.shape[1:] != (self.size, self.size, 3)
        ):
            raise RuntimeProblem(
                "images",
                f"{images.dtype} {list(images.shape)} does not fit {self.model}",
                f"pass {wanted}",
            )


def open_session(model: str | Path, runtime: str, threads: int = 1) -> Session:
    """Open a model.

    Args:
        model: ``.onnx`` for ONNX Runtime; ``.xml``, with its ``.bin`` beside it, for OpenVINO.
        runtime: ``onnxruntime`` or ``openvino``.
        threads: Threads that one inference may use.

    Raises:
        RuntimeProblem: The runtime is unknown or not installed, or the model is missing, damaged
            or has another input or output than Finch's models.
    """
    path = Path(model)
    if runtime not in RUNTIMES:
        raise RuntimeProblem("runtime", f"{runtime!r} is unknown", f"use {' or '.join(RUNTIMES)}")
    if threads < 1:
        raise RuntimeProblem("threads", f"{threads} is not a number of threads", "use 1 or more")
    if not path.is_file():
        raise RuntimeProblem(path, "there is no such model", "check the path")
    package = _import(runtime)
    try:
        return _OPENERS[runtime](package, path, threads)
    except RuntimeProblem:
        raise
    except Exception as error:  # the runtimes share no class of errors
        raise RuntimeProblem(
            path, f"{runtime} cannot load it: {said_by(error)}", "make or unpack it again"
        ) from error


def _import(runtime: str) -> Any:
    telemetry.turn_off()
    try:
        return importlib.import_module(runtime)
    except ModuleNotFoundError as error:
        if error.name != runtime:
            raise RuntimeProblem(runtime, said_by(error), f"pip install {runtime}") from error
        raise RuntimeProblem(runtime, "is not installed", f"pip install {runtime}") from None
    except ImportError as error:
        raise RuntimeProblem(
            runtime, f"cannot be imported: {said_by(error)}", f"reinstall {runtime}"
        ) from error


def _open_onnxruntime(package: Any, path: Path, threads: int) -> Session:
    package.disable_telemetry_events()  # Windows knows no other way
    options = package.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = package.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # whatever it would log as an error it raises as well
    spinning = "1" if threads > 1 else "0"
    options.add_session_config_entry("session.intra_op.allow_spinning", spinning)
    started = time.perf_counter()
    session = package.InferenceSession(
        str(path), sess_options=options, providers=["CPUExecutionProvider"]
    )
    load_s = time.perf_counter() - started

    size, fixed_batch = _contract(
        path,
        [(i.name, i.type == "tensor(uint8)", i.shape) for i in session.get_inputs()],
        [o.name for o in session.get_outputs()],
    )

    def infer(images: Array) -> tuple[Array, Array]:
        logits, probabilities = session.run(["logits", "probabilities"], {"images": images})
        return logits, probabilities

    return Session(
        model=path,
        runtime="onnxruntime",
        runtime_version=package.__version__,
        threads=threads,
        settings={
            "intra_op_num_threads": str(threads),
            "inter_op_num_threads": "1",
            "execution_mode": "sequential",
            "allow_spinning": spinning,
        },
        size=size,
        fixed_batch=fixed_batch,
        load_s=load_s,
        infer=infer,
    )


def _open_openvino(package: Any, path: Path, threads: int) -> Session:
    with path.open("rb") as file:
        if b"<net" not in file.read(1024):  # OpenVINO would try every other format, noisily
            raise RuntimeProblem(path, "is not an OpenVINO model", "name the model's .xml")
    config = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        # On CPUs with bfloat16 OpenVINO would compute in it unasked, and be 0.5 % off.
        "INFERENCE_PRECISION_HINT": "f32",
    }
    started = time.perf_counter()
    compiled = package.Core().compile_model(str(path), "CPU", config)
    request = compiled.create_infer_request()
    load_s = time.perf_counter() - started

    size, fixed_batch = _contract(
        path,
        [
            (
                i.any_name,
                i.element_type == package.Type.u8,
                [d.get_length() if d.is_static else None for d in i.partial_shape],
            )
            for i in compiled.inputs
        ],
        [name for output in compiled.outputs for name in output.names],
    )
    logits, probabilities = compiled.output("logits"), compiled.output("probabilities")

    def infer(images: Array) -> tuple[Array, Array]:
        # Without sharing, OpenVINO copies the images once more.
        results = request.infer({"images": images}, share_inputs=True)
        return results[logits], results[probabilities]

    # On Arm and on recent Xeons the CPU plugin computes in 16 bits by itself: worth recording.
    recorded = (*config, "INFERENCE_PRECISION_HINT", "ENABLE_CPU_PINNING")
    return Session(
        model=path,
        runtime="openvino",
        runtime_version=package.__version__,
        threads=threads,
        settings={key: _as_text(compiled.get_property(key)) for key in recorded},
        size=size,
        fixed_batch=fixed_batch,
        load_s=load_s,
        infer=infer,
    )


_OPENERS: dict[str, Callable[[Any, Path, int], Session]] = {
    "onnxruntime": _open_onnxruntime,
    "openvino": _open_openvino,
}


def _as_text(value: Any) -> str:
    return str(value.to_string() if hasattr(value, "to_string") else value)


def _contract(
    path: Path,
    inputs: Sequence[tuple[str, bool, Sequence[int | str | None]]],
    outputs: Iterable[str],
) -> tuple[int, bool]:
    """Hold a model to Finch's contract.

    Args:
        path: The model, for the message.
        inputs: Name, whether it is uint8, and shape (an int where fixed) of every input.
        outputs: Names of the outputs.

    Returns:
        The side of the images, and whether the batch is fixed at 1.
    """
    problem = _breach(inputs, set(outputs))
    if problem is not None:
        raise RuntimeProblem(path, problem, "use a model that finch exported")
    shape = inputs[0][2]
    side = shape[1]
    assert isinstance(side, int)
    return side, isinstance(shape[0], int)


def _breach(
    inputs: Sequence[tuple[str, bool, Sequence[int | str | None]]], outputs: set[str]
) -> str | None:
    if [name for name, _, _ in inputs] != ["images"]:
        return f"its inputs are {[name for name, _, _ in inputs]}, not ['images']"
    _, is_uint8, shape = inputs[0]
    if not is_uint8:
        return "its input is not uint8"
    if len(shape) != 4 or not isinstance(shape[1], int) or shape[1:] != [shape[1], shape[1], 3]:
        return f"its input has shape {list(shape)}, not [batch, size, size, 3]"
    if isinstance(shape[0], int) and shape[0] != 1:
        return f"its batch is fixed at {shape[0]}, not at 1"
    if not {"logits", "probabilities"} <= outputs:
        return f"its outputs are {sorted(outputs)}, without 'logits' and 'probabilities'"
    return None
