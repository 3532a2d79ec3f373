"""The most probable classes of every test image, by model, as a CSV file.

A row has the name of the image, its class, and for each model the classes and their softmax
probabilities: ``shipped``, ``shipped_probability``, ``shipped_2``, ``shipped_2_probability``, ...
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ArtifactError
from pipeline.files import atomic_file

MODELS = ("shipped", "student", "teacher")
_RANKS = 3


@dataclass(frozen=True)
class TopClasses:
    """The most probable classes of n images, most probable first; k is 3, or the number of classes.

    Attributes:
        classes: Class indices, int64 [n, k].
        probabilities: Their softmax probabilities, float64 [n, k].
    """

    classes: NDArray[np.int64]
    probabilities: NDArray[np.float64]

    @property
    def predictions(self) -> NDArray[np.int64]:
        """The predicted classes, int64 [n]."""
        return self.classes[:, 0]


@dataclass(frozen=True)
class Answers:
    """Answers to n test images.

    Attributes:
        names: Names of the images, relative to the data set.
        labels: Class indices, int64 [n].
        models: Answers by model: ``shipped``, ``student`` (fp32) and ``teacher``.
    """

    names: Sequence[str]
    labels: NDArray[np.int64]
    models: Mapping[str, TopClasses]


def top_classes(logits: NDArray[np.floating]) -> TopClasses:
    """The three most probable classes from logits, float [n, classes].

    Equal logits are ranked by class index.
    """
    order = np.argsort(-logits, axis=1, kind="stable")[:, :_RANKS]
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    top = np.take_along_axis(np.exp(shifted), order, axis=1)
    return TopClasses(order, top / np.exp(shifted).sum(axis=1, keepdims=True))


def write_answers(path: Path, answers: Answers, classes: Sequence[str]) -> None:
    """Writes answers; ``classes`` are the class names."""
    ranks = answers.models[MODELS[0]].classes.shape[1]
    with (
        atomic_file(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_columns(ranks))
        for at, (name, label) in enumerate(zip(answers.names, answers.labels, strict=True)):
            row: list[str] = [name, classes[label]]
            for model in MODELS:
                found = answers.models[model]
                for each, probability in zip(
                    found.classes[at], found.probabilities[at], strict=True
                ):
                    row += [classes[each], f"{probability:.6g}"]
            writer.writerow(row)


def read_answers(path: Path, classes: Sequence[str]) -> Answers:
    """Reads answers; ``classes`` are the class names.

    Raises:
        ArtifactError: The file is missing or damaged, or has other classes.
    """
    ranks = min(_RANKS, len(classes))
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        if header != _columns(ranks):
            raise ValueError("it has other columns")
        table = np.array(rows, dtype=object).reshape(len(rows), len(header))
        index = {name: at for at, name in enumerate(classes)}
        to_index = np.vectorize(index.__getitem__, otypes=[np.int64])
        labels, found = to_index(table[:, 1]), to_index(table[:, 2::2])
        probabilities = table[:, 3::2].astype(np.float64)
    except FileNotFoundError:
        raise ArtifactError(path, "is missing", "run `finch verify`") from None
    except (OSError, ValueError, csv.Error) as error:
        raise ArtifactError(path, f"cannot be read ({error})", "run `finch verify`") from None
    except KeyError as error:
        raise ArtifactError(path, f"has the class {error}, which the data has not") from None
    parts = (np.split(each, len(MODELS), axis=1) for each in (found, probabilities))
    models = {model: TopClasses(*each) for model, *each in zip(MODELS, *parts, strict=True)}
    return Answers(table[:, 0].tolist(), labels, models)


def _columns(ranks: int) -> list[str]:
    columns = ["image", "class"]
    for model in MODELS:
        for rank in range(1, ranks + 1):
            name = model if rank == 1 else f"{model}_{rank}"
            columns += [name, f"{name}_probability"]
    return columns
