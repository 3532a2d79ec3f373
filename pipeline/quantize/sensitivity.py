"""What each layer costs: the candidate with this one layer in int8 and all others in float.

Not the other way round, with one layer in float: where a range that int8 cannot hold lies between
two layers, leaving either of them gains nothing as long as the other rounds what they share. By
itself in int8 each of the two costs all of it, and both are left.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.measure.accuracy import correct
from pipeline.progress import Track, silent
from pipeline.quantize.validation import CandidateValidator, Runtime
from pipeline.quantize.variants import Variants


@dataclass(frozen=True)
class Cost:
    """What one layer costs when it alone is in int8.

    Attributes:
        layer: Its name.
        distance: Root of the mean squared error of the logits, as a multiple of the standard
            deviation of the fp32 student's.
        lost: Images that the student gets right, less those that this variant gets right.
    """

    layer: str
    distance: float
    lost: int


def rank_layers(
    variants: Variants,
    runtime: Runtime,
    judge: CandidateValidator,
    images: int,
    track: Track = silent,
) -> list[Cost]:
    """The cost of every layer, the most costly first: by distance, then by lost images.

    Args:
        variants: The candidate.
        runtime: What runs it.
        judge: Has the validation images.
        images: How many of them to use.
        track: Shows progress.

    Raises:
        QuantizationError: The runtime cannot run a variant.
    """
    chosen = judge.sample(images)
    pixels, labels = np.array(judge.images[chosen]), judge.labels[chosen]
    expected = judge.student_logits[chosen]
    names = [layer.name for layer in variants.layers]
    costs = []
    for name in track(names, "costs of layers", len(names)):
        with tempfile.TemporaryDirectory() as folder:
            model = variants.write(Path(folder), [other for other in names if other != name])
            logits = judge.logits(model, runtime, pixels)
        lost = int(correct(expected, labels).sum()) - int(correct(logits, labels).sum())
        costs.append(Cost(name, _distance(logits, expected), lost))
    return sorted(costs, key=lambda cost: (-cost.distance, -cost.lost))


def _distance(logits: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    error = np.sqrt(np.mean(np.square(logits - expected, dtype=np.float64)))
    return float(error / max(expected.std(dtype=np.float64), np.finfo(np.float32).tiny))
