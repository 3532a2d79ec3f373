"""A loaded model that satisfies the input and output contract of exported models.

The input is ``images``, uint8 [batch, height, width, channels], with 3 channels (RGB) or 1 (gray).
The outputs are ``logits`` and ``probabilities``, float32 [batch, classes].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from finch_runtime.errors import RuntimeProblem, last_line
from finch_runtime.image_size import ImageSize, height_and_width, image_size
from finch_runtime.regular import why_unreadable
from finch_runtime.rows import Images
from finch_runtime.runtimes import Array, LoadedModel, ModelInput, load_model

MAX_THREADS = 256
"""Largest number of threads of one inference. Starting 1,000 takes ONNX Runtime minutes."""

MAX_SIZE = 4096
"""Largest height and width of an input, in pixels; an image of that size takes 50 MB."""


@dataclass(frozen=True)
class Session:
    """A model that is ready to run, by any number of threads at the same time.

    Attributes:
        model: Model file.
        runtime: Inference runtime.
        runtime_version: Version of its package.
        threads: Threads of one inference.
        size: Height and width of the images in pixels, as one number if they are equal.
        channels: 3 for RGB images, 1 for gray ones.
        fixed_batch: Whether the batch size is fixed at 1.
        loaded: The model in the runtime.
    """

    model: Path
    runtime: str
    runtime_version: str
    threads: int
    size: ImageSize
    channels: int
    fixed_batch: bool
    loaded: LoadedModel

    def run(self, images: Array) -> tuple[Array, Array]:
        """Runs one batch.

        Args:
            images: uint8 [batch, height, width, channels]; batch is 1 if ``fixed_batch``.

        Returns:
            Logits and probabilities, each float32 [batch, classes].

        Raises:
            RuntimeProblem: The images have the wrong dtype or shape, the runtime failed, or its
                outputs have the wrong shape or are not finite.
        """
        self._check(images)
        try:
            logits, probabilities = self.loaded.infer(images)
        except Exception as error:  # the runtimes have no common exception class
            problem = f"{self.runtime} failed: {last_line(error)}"
            raise RuntimeProblem(self.model, problem, "export the model again") from error
        unusable = _unusable(logits, probabilities, len(images))
        if unusable is not None:
            raise RuntimeProblem(self.model, unusable, "export the model again")
        return logits.astype(np.float32, copy=False), probabilities.astype(np.float32, copy=False)

    def _check(self, images: Array) -> None:
        shape = (*height_and_width(self.size), self.channels)
        fits = (
            images.dtype == np.uint8
            and images.shape[1:] == shape
            and (len(images) == 1 if self.fixed_batch else len(images) >= 1)
        )
        if not fits:
            batch = "1" if self.fixed_batch else "batch"
            problem = f"{images.dtype} {list(images.shape)} does not fit {self.model}"
            remedy = f"pass uint8 [{', '.join(map(str, (batch, *shape)))}]"
            raise RuntimeProblem("images", problem, remedy)


def open_session(model: str | Path, runtime: str, threads: int = 1) -> Session:
    """Loads a model and checks its inputs and outputs.

    Args:
        model: ``.onnx`` for ONNX Runtime; ``.xml``, with ``.bin`` beside it, for OpenVINO.
        runtime: A name in ``runtimes.RUNTIMES``.
        threads: Threads of one inference, 1 to ``MAX_THREADS``.

    Raises:
        RuntimeProblem: The number of threads is out of range, the runtime is unknown or not
            installed, or the model is missing, damaged, or has other inputs or outputs than
            exported models.
    """
    path = Path(model)
    if not 1 <= threads <= MAX_THREADS:
        raise RuntimeProblem("threads", f"{threads} is out of range", f"use 1 to {MAX_THREADS}")
    unreadable = why_unreadable(path)
    if unreadable is not None:
        raise RuntimeProblem(path, unreadable, "check the path of the model")
    version, loaded = load_model(runtime, path, threads)
    violation = _contract_violation(loaded.inputs, set(loaded.outputs))
    if violation is not None:
        raise RuntimeProblem(path, violation, "use a model that Finch exported")
    batch, height, width, channels = loaded.inputs[0].shape
    assert isinstance(height, int) and isinstance(width, int) and isinstance(channels, int)
    size, fixed_batch = image_size(height, width), isinstance(batch, int)
    return Session(path, runtime, version, threads, size, channels, fixed_batch, loaded)


def predict(session: Session, images: Images) -> Array:
    """Computes logits, float32 [n, classes], of images, uint8 [n, height, width, channels].

    Images run one at a time, as on the device: a dynamically quantized model chooses the range of
    its activations per batch, so the logits of an image depend on its batch.
    """
    if len(images) == 0:
        raise RuntimeProblem("images", "none given", "pass at least one")
    return np.concatenate([session.run(images[i : i + 1])[0] for i in range(len(images))])


def _unusable(logits: Array, probabilities: Array, images: int) -> str | None:
    """What is wrong with the outputs of one batch."""
    if logits.dtype.kind != "f" or probabilities.dtype.kind != "f":
        return f"it returned {logits.dtype} logits and {probabilities.dtype} probabilities"
    shape = logits.shape
    if len(shape) != 2 or shape[0] != images or shape[1] < 1 or shape != probabilities.shape:
        found = f"logits {list(shape)} and probabilities {list(probabilities.shape)}"
        return f"it returned {found}, not [{images}, classes] each"
    if not (np.isfinite(logits).all() and np.isfinite(probabilities).all()):
        return "it returned NaN or infinite values"
    return None


def _contract_violation(inputs: Sequence[ModelInput], outputs: set[str]) -> str | None:
    names = [each.name for each in inputs]
    if names != ["images"]:
        return f"its inputs are {names}, not ['images']"
    if not inputs[0].is_uint8:
        return "its input is not uint8"
    shape = list(inputs[0].shape)
    sides = [side for side in shape[1:3] if isinstance(side, int)]
    if len(shape) != 4 or len(sides) != 2 or shape[3] not in (1, 3):
        return f"its input has shape {shape}, not [batch, height, width, 3 or 1]"
    if min(sides) < 1 or max(sides) > MAX_SIZE:
        pixels = f"{sides[0]} x {sides[1]} pixels"
        return f"its images have {pixels}; at most {MAX_SIZE} x {MAX_SIZE} fit"
    if isinstance(shape[0], int) and shape[0] != 1:
        return f"its batch size is fixed at {shape[0]}, not 1"
    if not {"logits", "probabilities"} <= outputs:
        return f"its outputs are {sorted(outputs)}, without 'logits' and 'probabilities'"
    return None
