"""Search for mixed precision: the most sensitive layers in float, the others in int8.

The step is selected on the validation images, so its accuracy drop on them is slightly optimistic.
The stage ``verify`` measures the shipped candidate on the test split.
"""

from __future__ import annotations

import itertools
import math
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import QuantizationError
from pipeline.measure.accuracy import correct
from pipeline.params import Candidate, MixedPrecision
from pipeline.progress import Track, silent
from pipeline.quantize.layers import Layer
from pipeline.quantize.runtimes.base import Variants
from pipeline.quantize.validation import CandidateValidator
from pipeline.statistics import Drop


@dataclass(frozen=True)
class Sensitivity:
    """Effect of one layer in int8.

    Attributes:
        layer: Name of the layer.
        error: Root mean square error of the logits, relative to the standard deviation of the fp32
            student's logits.
        lost: Number of images that the student classifies correctly, minus that of the variant.
    """

    layer: str
    error: float
    lost: int


@dataclass(frozen=True)
class SearchStep:
    """One mixed-precision variant that was tried.

    Attributes:
        float_layers: Names of the layers in float, most sensitive first.
        multiply_adds: Fraction of the multiply-adds in float.
        weights: Fraction of the weights in float.
        bytes: Size of the files.
        drop: Drop of ``bundle.metric`` to the fp32 student.
    """

    float_layers: tuple[str, ...]
    multiply_adds: float
    weights: float
    bytes: int
    drop: Drop


@dataclass(frozen=True)
class MixedPrecisionSearch:
    """Result of the search for one static int8 candidate.

    Attributes:
        candidate: Name of the int8 candidate.
        drop: Its drop of ``bundle.metric`` to the fp32 student.
        mixed: Name of the candidate that was added; None if no step was accepted.
        outcome: One sentence for the log and the report.
        images: Number of validation images of the sensitivities.
        sensitivities: All layers, most sensitive first.
        steps: In the order in which they were tried; the last one was kept if any was.
    """

    candidate: str
    drop: Drop
    mixed: str | None
    outcome: str
    images: int
    sensitivities: list[Sensitivity]
    steps: list[SearchStep]


@dataclass(frozen=True)
class SearchSetup:
    """Validator and parameters of a search."""

    validator: CandidateValidator
    params: MixedPrecision


def search_mixed_precision(
    candidate: Candidate,
    variants: Variants,
    int8: Path,
    setup: SearchSetup,
    folder: Path,
    track: Track = silent,
) -> MixedPrecisionSearch | None:
    """Keeps the 1, 2, 4, ... most sensitive layers in float until the drop is accepted.

    Args:
        candidate: A static int8 candidate.
        variants: Writes the candidate with any of its layers in float.
        int8: File of the candidate with all layers in int8.
        setup: Validation images, accepted drop and limits of the search.
        folder: Folder of all candidates; ``<name>-mixed`` is written to it if a step is accepted.
        track: Progress display.

    Returns:
        Steps and outcome; None if the drop of the int8 candidate is accepted.

    Raises:
        QuantizationError: The candidate has no layers, or the runtime cannot run a variant.
    """
    validator, params, name = setup.validator, setup.params, candidate.name
    drop = validator.drop(validator.compute_logits(int8, candidate.runtime))
    if validator.accepts(drop):
        return None
    if not validator.accepts(validator.unchanged):
        bound = validator.rule.max_drop_bound
        outcome = (
            f"no search: {len(validator.labels)} validation images cannot rule out a drop of more "
            f"than {bound:g} points, even if no prediction changes"
        )
        if enough := validator.unchanged.images_for_bound(bound):
            outcome += f"; at least {enough:,} are needed (raise prepare.fractions.val)"
        return MixedPrecisionSearch(name, drop, None, outcome, 0, [], [])
    total = len(variants.layers)
    if not total:
        lost = f"{drop.points:.2f} points of {drop.figure}"
        problem = f"loses {lost}, and has no layer to keep in float"
        raise QuantizationError(name, problem, "set quantize.mixed_precision.enabled to false")
    ranked = _rank_layers(variants, candidate.runtime, validator, params.images, track)
    target, steps, mixed = folder / candidate.mixed_name, list[SearchStep](), None
    for count in step_sizes(total, params.max_float_fraction):
        float_layers = tuple(s.layer for s in ranked[:count])
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        model = variants.write(target, float_layers)
        last = validator.drop(validator.compute_logits(model, candidate.runtime))
        steps.append(_describe_step(variants.layers, float_layers, target, last))
        if validator.accepts(last):
            mixed, outcome = target.name, f"accepted with {count} of {total} layers in float"
            break
    else:
        shutil.rmtree(target)
        outcome = (
            f"no candidate added: with {count} of {total} layers in float the drop is still "
            f"{last.points:.2f} points (one-sided 95 % bound {last.bound:.2f})"
        )
    images = len(validator.sample(params.images))
    return MixedPrecisionSearch(name, drop, mixed, outcome, images, ranked, steps)


def _rank_layers(
    variants: Variants, runtime: str, validator: CandidateValidator, images: int, track: Track
) -> list[Sensitivity]:
    """Sensitivities of all layers on some validation images, highest error first.

    The sensitivity of a layer is the error of the logits when only this layer is in int8. The
    reverse, only this layer in float, would underestimate two layers that share a tensor whose
    range int8 cannot represent: with one of them in float, the other still rounds the tensor.
    """
    chosen = validator.sample(images)
    pixels, labels = np.array(validator.images[chosen]), validator.labels[chosen]
    expected = validator.student_logits[chosen]
    hits = int(correct(expected, labels).sum())
    spread = max(expected.std(dtype=np.float64), np.finfo(np.float32).tiny)
    names = [layer.name for layer in variants.layers]
    found = []
    for name in track(names, "sensitivity of layers", len(names)):
        with tempfile.TemporaryDirectory() as folder:
            model = variants.write(Path(folder), [other for other in names if other != name])
            logits = validator.compute_logits(model, runtime, pixels)
        rmse = np.sqrt(np.mean(np.square(logits - expected, dtype=np.float64)))
        lost = hits - int(correct(logits, labels).sum())
        found.append(Sensitivity(name, float(rmse / spread), lost))
    return sorted(found, key=lambda s: (-s.error, -s.lost))


def _describe_step(
    layers: Sequence[Layer], float_layers: tuple[str, ...], folder: Path, drop: Drop
) -> SearchStep:
    in_float = [layer for layer in layers if layer.name in float_layers]
    return SearchStep(
        float_layers=float_layers,
        multiply_adds=sum(x.multiply_adds for x in in_float) / sum(x.multiply_adds for x in layers),
        weights=sum(x.weights for x in in_float) / sum(x.weights for x in layers),
        bytes=sum(file.stat().st_size for file in folder.iterdir()),
        drop=drop,
    )


def step_sizes(layers: int, max_float_fraction: float) -> list[int]:
    """Number of layers in float at each step: 1, 2, 4, ... and the largest number allowed."""
    largest = max(1, math.floor(layers * max_float_fraction))
    doubled = itertools.takewhile(lambda k: k < largest, (2**n for n in itertools.count()))
    return [*doubled, largest]
