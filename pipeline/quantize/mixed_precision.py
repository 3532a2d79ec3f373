"""The rungs between int8 and float: the most costly layers in float, until little is lost.

Everything is judged on the validation images that ``bundle`` chooses by, so that the loss of the
rung that was kept is a little too good to be true; ``verify`` tells it on images that nobody saw.
"""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import QuantizationError
from pipeline.params import Candidate, MixedPrecision
from pipeline.progress import Track, silent
from pipeline.quantize.sensitivity import Cost, rank_layers
from pipeline.quantize.validation import CandidateValidator
from pipeline.quantize.variants import Variants
from pipeline.statistics import AccuracyDrop


@dataclass(frozen=True)
class SearchStep:
    """One mixed candidate that was tried.

    Attributes:
        in_float: Names of the layers in float, the most costly first.
        multiply_adds: Share of the multiply-adds in float.
        weights: Share of the weights in float.
        bytes: Size of its files.
        drop: What it loses against the fp32 student.
    """

    in_float: tuple[str, ...]
    multiply_adds: float
    weights: float
    bytes: int
    drop: AccuracyDrop


@dataclass(frozen=True)
class MixedPrecisionSearch:
    """What was tried for one static int8 candidate that loses too much.

    Attributes:
        candidate: Its name.
        drop: What it loses against the fp32 student.
        mixed: Name of the candidate that was added; None where nothing met the budget.
        outcome: What came out, in plain English.
        images: Validation images on which the layers were ranked.
        costs: Every layer, the most costly first.
        rungs: In the order in which they were tried; the last was kept if any was.
    """

    candidate: str
    drop: AccuracyDrop
    mixed: str | None
    outcome: str
    images: int
    costs: list[Cost]
    rungs: list[SearchStep]


def search_mixed_precision(
    candidate: Candidate,
    variants: Variants,
    drop: AccuracyDrop,
    judge: CandidateValidator,
    params: MixedPrecision,
    folder: Path,
    track: Track = silent,
) -> MixedPrecisionSearch:
    """Looks for the fewest layers in float, of 1, 2, 4 …, with which a candidate meets the budget.

    Args:
        candidate: What loses too much.
        variants: It with any layers in float.
        drop: What it loses as it is.
        judge: Has the validation images and the budget.
        params: How far to go.
        folder: Of all candidates; ``<name>-mixed`` is made in it when a rung meets the budget.
        track: Shows progress.

    Raises:
        QuantizationError: The candidate has no layers, or the runtime cannot run a variant.
    """
    name = candidate.name
    if not judge.can_accept:
        return MixedPrecisionSearch(
            name,
            drop,
            None,
            f"not tried: {len(judge.labels)} validation images cannot rule out a loss of more "
            f"than {judge.max_drop_bound:g} points even where no answer changes",
            *(0, [], []),
        )
    layers = {layer.name: layer for layer in variants.layers}
    if not layers:
        raise QuantizationError(
            name,
            "loses too much, and has no layer with weights to leave in float",
            "set quantize.mixed_precision.mixed to false",
        )
    costs = rank_layers(variants, candidate.runtime, judge, params.images, track)
    target, rungs = folder / candidate.mixed_name, list[SearchStep]()
    for count in step_sizes(len(layers), params.largest_share):
        kept = tuple(cost.layer for cost in costs[:count])
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        model = variants.write(target, kept)
        rung = SearchStep(
            in_float=kept,
            multiply_adds=_share({n: layer.multiply_adds for n, layer in layers.items()}, kept),
            weights=_share({n: layer.weights for n, layer in layers.items()}, kept),
            bytes=sum(file.stat().st_size for file in target.iterdir()),
            drop=judge.drop(judge.logits(model, candidate.runtime)),
        )
        rungs.append(rung)
        if judge.accepts(rung.drop):
            outcome = f"{count} of {len(layers)} layers in float meet the budget"
            break
    else:
        shutil.rmtree(target)
        outcome = (
            f"no candidate was added: with {len(rungs[-1].in_float)} of {len(layers)} layers in "
            f"float it still loses {rungs[-1].drop.points:.2f} points (95 % interval up to "
            f"{rungs[-1].drop.high:.2f})"
        )
    return MixedPrecisionSearch(
        candidate=name,
        drop=drop,
        mixed=target.name if target.exists() else None,
        outcome=outcome,
        images=len(judge.sample(params.images)),
        costs=costs,
        rungs=rungs,
    )


def _share(counts: Mapping[str, int], kept: Sequence[str]) -> float:
    return sum(counts[name] for name in kept) / sum(counts.values())


def step_sizes(layers: int, largest_share: float) -> list[int]:
    """How many layers each rung leaves in float: 1, 2, 4 … and the largest number allowed."""
    largest = max(1, math.floor(layers * largest_share))
    doubled = itertools.takewhile(lambda k: k < largest, (2**n for n in itertools.count()))
    return [*doubled, largest]
