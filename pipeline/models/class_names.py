"""Finds the names of the classes that a classifier layer was trained on."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ParameterError
from pipeline.files import hash_file

_KEYS = (
    "class_names",
    "classes",
    "class_to_idx",
    "idx_to_class",
    "names",
    "id2label",
    "label2id",
    "label_names",
    "labels",
    "vocab",
    "CLASSES",
)
_PLACES = (
    "hyper_parameters",
    "hparams",
    "meta",
    "dataset_meta",
    "args",
    "config",
    "pretrained_cfg",
    "model_args",
)
_TEXT_FILES = ("labels.txt", "classes.txt", "class_names.txt")
_JSON_FILES = ("config.json", "class_to_idx.json", "idx_to_class.json", "class_names.json")
_MAX_DEPTH = 3
_NO_NAME = re.compile(r"LABEL_\d+")  # transformers writes it where no name is known


@dataclass(frozen=True)
class KnownClasses:
    """Class names in the order of the rows of a classifier layer, and where they are written."""

    names: tuple[str, ...]
    origin: str


def read_class_names(path: Path) -> KnownClasses:
    """Reads class names from a file: one name per line, or a JSON list or mapping.

    A mapping has names and row numbers, in either direction. Lines may start with their numbers,
    from 0.

    Raises:
        ParameterError: The file cannot be read, or does not hold one name per row.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise ParameterError(path, problem, "correct `class_names`") from None
    except UnicodeDecodeError:
        raise ParameterError(path, "is not UTF-8 text", "save it as UTF-8") from None
    try:
        if text.lstrip()[:1] in ("{", "["):
            value = json.loads(text)
            found = _in_mapping(value) if isinstance(value, dict) else None
            names = found[0] if found else _parse(value)
        else:
            names = _parse(_lines(text))
    except (ValueError, RecursionError) as error:
        remedy = "write one name per line, or a JSON list, in the order of the rows"
        raise ParameterError(path, f"is not a list of class names ({error})", remedy) from None
    return KnownClasses(names, path.name)


def find_class_names(weights: Path, entries: Mapping[str, Any]) -> KnownClasses | None:
    """The class names in a checkpoint, else those in a file beside it; None without any.

    Args:
        weights: The file of weights.
        entries: What it holds besides tensors, see ``WeightsFile``.
    """
    if found := _in_mapping(entries):
        return KnownClasses(found[0], f"{weights.name}, {found[1]}")
    for path in files_beside(weights):
        try:
            if path.name == "model.json" and not _describes(path, weights):
                continue
            found_beside = read_class_names(path)
        except ParameterError:
            continue  # a file of that name need not be about classes
        if not any(_NO_NAME.fullmatch(name) for name in found_beside.names):
            return found_beside
    return None


def files_beside(weights: Path) -> list[Path]:
    """The files next to a file of weights that may name its classes, in the order of use."""
    names = ("model.json", *_TEXT_FILES, *_JSON_FILES)
    return [path for name in names if (path := weights.with_name(name)).is_file()]


def _describes(model_json: Path, weights: Path) -> bool:
    """Whether ``model.json`` of ``save_classifier`` belongs to these weights."""
    try:
        recorded = json.loads(model_json.read_text(encoding="utf-8"))["weights_sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
    return bool(recorded == hash_file(weights))


def _in_mapping(entries: Mapping[str, Any], depth: int = 0) -> tuple[tuple[str, ...], str] | None:
    """The first class names in a mapping, or in a mapping below it, and their key."""
    for key in _KEYS:
        if key in entries:
            try:
                return _parse(entries[key]), key
            except ValueError:
                continue  # for example a number of classes
    for place in _PLACES if depth < _MAX_DEPTH else ():
        inner = entries.get(place)
        inner = vars(inner) if isinstance(inner, argparse.Namespace) else inner
        if isinstance(inner, Mapping) and (found := _in_mapping(inner, depth + 1)):
            return found[0], f"{place}.{found[1]}"
    return None


def _parse(value: Any) -> tuple[str, ...]:
    """Class names from a list, from index to name, or from name to index.

    Raises:
        ValueError: It is something else, a name is missing, or two are equal.
    """
    if isinstance(value, Mapping):
        value = _by_index(value)
    elif isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        raise ValueError(f"found a {type(value).__name__}")
    if not value:
        raise ValueError("found no names")
    if not all(isinstance(name, str) or _is_number(name) for name in value):
        raise ValueError("a name is not a text")
    names = tuple(str(name).strip() for name in value)
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} occurs twice")
    if "" in names:
        raise ValueError(f"row {names.index('')} has no name")
    return names


def _by_index(value: Mapping[Any, Any]) -> list[Any]:
    """The names of a mapping between names and row numbers, by row number."""
    if all(_is_number(number) for number in value.values()):
        pairs = [(int(number), name) for name, number in value.items()]
    else:
        try:
            pairs = [(int(number), name) for number, name in value.items()]
        except (TypeError, ValueError):
            raise ValueError("neither its keys nor its values are row numbers") from None
    by_row = dict(pairs)
    if sorted(by_row) != list(range(len(value))):
        raise ValueError(f"the row numbers are not 0 to {len(value) - 1}")
    return [by_row[row] for row in range(len(value))]


def _is_number(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _lines(text: str) -> list[str]:
    lines = [line.strip() for line in text.strip().splitlines()]
    numbered = [re.fullmatch(r"(\d+)[\s,:]\s*(.+)", line) for line in lines]
    if all(match and int(match[1]) == row for row, match in enumerate(numbered)):
        return [match[2] for match in numbered if match]
    return lines
