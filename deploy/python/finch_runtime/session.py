"""A loaded model that satisfies the input and output contract of exported models.

The input is ``images``, uint8 [batch, size, size, 3], RGB. The outputs are ``logits`` and
``probabilities``, float32 [batch, classes].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from finch_runtime.errors import RuntimeProblem, last_line
from finch_runtime.runtimes import Array, LoadedModel, ModelInput, load_model

_BATCH = 32


@dataclass(frozen=True)
class Session:
    """A model that is ready to run.

    Attributes:
        model: Model file.
        runtime: Inference runtime.
        runtime_version: Version of its package.
        threads: Threads of one inference.
        size: Height and width of the images in pixels.
        fixed_batch: Whether the batch size is fixed at 1.
        loaded: The model in the runtime.
    """

    model: Path
    runtime: str
    runtime_version: str
    threads: int
    size: int
    fixed_batch: bool
    loaded: LoadedModel

    def run(self, images: Array) -> tuple[Array, Array]:
        """Runs one batch.

        Args:
            images: uint8 [batch, size, size, 3], RGB; batch is 1 if ``fixed_batch``.

        Returns:
            Logits and probabilities, each float32 [batch, classes].

        Raises:
            RuntimeProblem: The images have the wrong dtype or shape, or the runtime failed.
        """
        self._check(images)
        try:
            logits, probabilities = self.loaded.infer(images)
        except Exception as error:  # the runtimes have no common exception class
            problem = f"{self.runtime} failed: {last_line(error)}"
            raise RuntimeProblem(self.model, problem, "export the model again") from error
        return logits.astype(np.float32, copy=False), probabilities.astype(np.float32, copy=False)

    def _check(self, images: Array) -> None:
        fits = (
            images.dtype == np.uint8
            and images.shape[1:] == (self.size, self.size, 3)
            and (len(images) == 1 if self.fixed_batch else len(images) >= 1)
        )
        if not fits:
            batch = "1" if self.fixed_batch else "batch"
            problem = f"{images.dtype} {list(images.shape)} does not fit {self.model}"
            remedy = f"pass uint8 [{batch}, {self.size}, {self.size}, 3]"
            raise RuntimeProblem("images", problem, remedy)


def open_session(model: str | Path, runtime: str, threads: int = 1) -> Session:
    """Loads a model and checks its inputs and outputs.

    Args:
        model: ``.onnx`` for ONNX Runtime; ``.xml``, with ``.bin`` beside it, for OpenVINO.
        runtime: A name in ``runtimes.RUNTIMES``.
        threads: Threads of one inference.

    Raises:
        RuntimeProblem: The runtime is unknown or not installed, or the model is missing, damaged,
            or has other inputs or outputs than exported models.
    """
    path = Path(model)
    if threads < 1:
        raise RuntimeProblem("threads", f"{threads} is too small", "use 1 or more")
    if not path.is_file():
        raise RuntimeProblem(path, "no such model file", "check the path")
    version, loaded = load_model(runtime, path, threads)
    problem = _contract_violation(loaded.inputs, set(loaded.outputs))
    if problem is not None:
        raise RuntimeProblem(path, problem, "use a model that Finch exported")
    batch, size = loaded.inputs[0].shape[:2]
    assert isinstance(size, int)
    return Session(path, runtime, version, threads, size, isinstance(batch, int), loaded)


def predict(session: Session, images: Array) -> Array:
    """Computes logits, float32 [n, classes], of images, uint8 [n, size, size, 3], RGB.

    The batch size is 32, or 1 if that of the model is fixed. ``images`` may be memory-mapped.
    """
    if len(images) == 0:
        raise RuntimeProblem("images", "none given", "pass at least one")
    step = 1 if session.fixed_batch else _BATCH
    batches = (images[start : start + step] for start in range(0, len(images), step))
    return np.concatenate([session.run(batch)[0] for batch in batches])


def _contract_violation(inputs: Sequence[ModelInput], outputs: set[str]) -> str | None:
    names = [each.name for each in inputs]
    if names != ["images"]:
        return f"its inputs are {names}, not ['images']"
    if not inputs[0].is_uint8:
        return "its input is not uint8"
    shape = list(inputs[0].shape)
    if len(shape) != 4 or not isinstance(shape[1], int) or shape[1:] != [shape[1], shape[1], 3]:
        return f"its input has shape {shape}, not [batch, size, size, 3]"
    if isinstance(shape[0], int) and shape[0] != 1:
        return f"its batch size is fixed at {shape[0]}, not 1"
    if not {"logits", "probabilities"} <= outputs:
        return f"its outputs are {sorted(outputs)}, without 'logits' and 'probabilities'"
    return None
