"""Confusion matrix of the shipped model on the test images, and its most frequent confusions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.plugins import SECTIONS
from pipeline.report.confusions import confusion_cards, most_frequent_confusions
from pipeline.report.contact_sheet import intensity_map
from pipeline.report.document import Block, Part, blocks
from pipeline.report.facts import Facts
from pipeline.report.sections import section
from pipeline.report.table import Column, Row, Table

_MOST_IN_TABLE = 12  # classes
_SHOWN = 6  # confusions with images


@SECTIONS.register("confusions")
@section("Confusions", order=52)
def confusions(facts: Facts) -> list[Part]:
    """The matrix, as a table of few classes or as an image of many; and examples."""
    answers, classes = facts.answers, facts.dataset.classes
    predictions = answers.models["shipped"].predictions
    matrix = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(matrix, (answers.labels, predictions), 1)
    shown = _table(matrix, classes) if len(classes) <= _MOST_IN_TABLE else _image(matrix)
    found = most_frequent_confusions(predictions, answers.labels, classes, most=_SHOWN)
    if not found:
        return ["None: all test images are classified correctly."]
    examples: list[Part] = [
        "Top row: images of the first class that are classified as the second class. Bottom row: "
        "images of the second class.",
        confusion_cards(found, facts.test, classes),
    ]
    return [shown, blocks.group("Most frequent confusions", examples)]


def _table(matrix: NDArray[np.int64], classes: Sequence[str]) -> Table:
    columns: list[Column[Any]] = [Column("Class", str, numeric=False)]
    columns += [Column(name, str) for name in classes]
    rows = [
        Row([name, *map(str, counts)])
        for name, counts in zip(classes, matrix.tolist(), strict=True)
    ]
    caption = "Test images of each class (row) by the class that the shipped model predicts"
    return Table("Confusion matrix", columns, rows, caption=caption)


def _image(matrix: NDArray[np.int64]) -> Block:
    fractions = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    text = f"confusion matrix of {len(matrix)} classes"
    return blocks.figure(
        blocks.image(intensity_map(fractions), text),
        "Confusion matrix: one row per class and one column per predicted class, in the order of "
        "the table above. The intensity is the fraction of the test images of the class; the "
        "diagonal is the recall.",
    )
