"""Confusion matrix and most frequent confusions."""

from dataclasses import replace

import numpy as np
from sklearn.metrics import confusion_matrix

from pipeline.report.page import render
from pipeline.shipping.answers import TopClasses
from tests.pipeline.report.html_tree import Tree, rows, section, table


def test_the_matrix_of_few_classes_is_a_table(tree, facts):
    predictions = facts.answers.models["shipped"].predictions
    expected = confusion_matrix(facts.answers.labels, predictions, labels=range(6)).tolist()
    found = rows(table(tree, "Confusion matrix"))
    assert [[int(cell) for cell in row[1:]] for row in found[1:]] == expected


def test_the_matrix_of_many_classes_is_an_image(facts):
    names = [f"class {number}" for number in range(200)]
    labels = np.arange(len(facts.answers.labels)) % 200
    top = TopClasses(
        np.stack([(labels + 1) % 200, labels, labels], axis=1), np.full((len(labels), 3), 0.3)
    )
    per_class = np.bincount(labels, minlength=200).tolist()
    splits = {name: replace(s, per_class=per_class) for name, s in facts.dataset.splits.items()}
    scored = replace(facts.verified.shipped, recalls=[0.0] * 200)
    many = replace(
        facts,
        dataset=replace(facts.dataset, classes=names, splits=splits),
        verified=replace(facts.verified, shipped=scored, student=scored, teacher=scored),
        answers=replace(
            facts.answers, labels=labels, models=dict.fromkeys(facts.answers.models, top)
        ),
        test=replace(facts.test, labels=labels),
    )
    page = render(many)
    assert len(page) < 6_000_000
    found = section(Tree(page).root, "confusions")
    assert not list(found.all("table"))
    image = next(found.all("img"))
    assert (image.attributes["width"], image.attributes["height"]) == ("600", "600")
