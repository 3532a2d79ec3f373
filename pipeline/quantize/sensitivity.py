"""Sensitivity of each layer: the error when this layer alone is in int8 and all others in float.

The reverse, one layer in float and all others in int8, would miss a range that int8 cannot
represent between two layers: either of them in float gains nothing while the other still rounds the
shared values. Alone in int8, each of them shows the whole error, and both are kept in float.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.measure.accuracy import correct
from pipeline.progress import Track, silent
from pipeline.quantize.runtimes.base import Variants
from pipeline.quantize.validation import CandidateValidator


@dataclass(frozen=True)
class Sensitivity:
    """Effect of one layer in int8.

    Attributes:
        layer: Name of the layer.
        error: Root mean square error of the logits, relative to the standard deviation of the fp32
            student's logits.
        lost: Number of correct images of the student minus that of the variant.
    """

    layer: str
    error: float
    lost: int


def rank_layers(
    variants: Variants,
    runtime: str,
    validator: CandidateValidator,
    images: int,
    track: Track = silent,
) -> list[Sensitivity]:
    """Sensitivities of all layers, highest error first, then most lost images.

    Args:
        variants: The candidate.
        runtime: Its inference runtime.
        validator: Provides the validation images and the student's logits.
        images: Number of validation images to use.
        track: Shows progress.

    Raises:
        QuantizationError: The runtime cannot run a variant.
    """
    chosen = validator.sample(images)
    pixels, labels = np.array(validator.images[chosen]), validator.labels[chosen]
    expected = validator.student_logits[chosen]
    names = [layer.name for layer in variants.layers]
    found = []
    for name in track(names, "sensitivity of layers", len(names)):
        with tempfile.TemporaryDirectory() as folder:
            model = variants.write(Path(folder), [other for other in names if other != name])
            logits = validator.compute_logits(model, runtime, pixels)
        lost = int(correct(expected, labels).sum()) - int(correct(logits, labels).sum())
        found.append(Sensitivity(name, _relative_error(logits, expected), lost))
    return sorted(found, key=lambda s: (-s.error, -s.lost))


def _relative_error(logits: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    error = np.sqrt(np.mean(np.square(logits - expected, dtype=np.float64)))
    return float(error / max(expected.std(dtype=np.float64), np.finfo(np.float32).tiny))
