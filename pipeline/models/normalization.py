"""The normalization of the pixels that pretrained weights expect."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.files import hash_file

RGB = tuple[float, float, float]
_PLACES = ("pretrained_cfg", "args", "hyper_parameters", "hparams", "meta", "config")


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation per RGB channel, for pixels in [0, 1], and their origin."""

    mean: RGB
    std: RGB
    origin: str


def find_normalization(weights: Path, entries: Mapping[str, Any]) -> Normalization | None:
    """The normalization in a checkpoint, else in ``model.json`` or ``config.json`` beside it.

    Args:
        weights: The file of weights.
        entries: What it holds besides tensors, see ``WeightsFile``.
    """
    for origin, values in _candidates(weights, entries):
        mean, std = _channels(values.get("mean"), 0.0), _channels(values.get("std"), 1e-6)
        if mean and std:
            return Normalization(mean, std, origin)
    return None


def _candidates(
    weights: Path, entries: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield from _with_places(weights.name, entries)
    model, config = _read(weights.with_name("model.json")), _read(weights.with_name("config.json"))
    if "weights_sha256" in model and model["weights_sha256"] == hash_file(weights):
        yield "model.json", model
    yield from _with_places("config.json", config)


def _with_places(origin: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield origin, values
    for place in _PLACES:
        inner = values.get(place)
        inner = vars(inner) if isinstance(inner, argparse.Namespace) else inner
        if isinstance(inner, Mapping):
            yield origin, inner


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _channels(value: Any, smallest: float) -> RGB | None:
    """Three numbers in [smallest, 1]; None for something else, such as values for 0 to 255.

    One number, of a network of gray images, is that of each channel.
    """
    if not isinstance(value, list | tuple) or len(value) not in (1, 3):
        return None
    if not all(isinstance(number, int | float) and smallest <= number <= 1 for number in value):
        return None
    red, green, blue = map(float, value if len(value) == 3 else 3 * list(value))
    return red, green, blue
