"""The file with the answers to every test image."""

import csv

import numpy as np
import pytest
import torch

from pipeline.errors import ArtifactError
from pipeline.shipping.answers import Answers, read_answers, top_classes, write_answers

CLASSES = ("a, b", 'the "second"', "dritte Klasse", "ζ")
NAMES = ["x/1.png", "x/a,b.png", "ü.png"]
RNG = np.random.default_rng(1)
LOGITS = {name: RNG.normal(size=(3, 4)) for name in ("shipped", "student", "teacher")}


def answers(classes=4):
    models = {name: top_classes(each[:, :classes]) for name, each in LOGITS.items()}
    return Answers(NAMES, np.array([0, 1, 1]), models)


def test_the_three_most_probable_classes_are_those_of_pytorch():
    found = top_classes(LOGITS["shipped"])
    expected = torch.from_numpy(LOGITS["shipped"]).softmax(1).topk(3)
    assert found.classes.tolist() == expected.indices.tolist()
    np.testing.assert_allclose(found.probabilities, expected.values)
    assert found.predictions.tolist() == LOGITS["shipped"].argmax(1).tolist()


def test_equal_logits_are_ranked_as_argmax_does():
    assert top_classes(np.zeros((1, 4))).classes.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("classes", [2, 4])
def test_what_was_written_is_read(tmp_path, classes):
    written, path = answers(classes), tmp_path / "answers.csv"
    write_answers(path, written, CLASSES[:classes])
    read = read_answers(path, CLASSES[:classes])
    assert (read.names, read.labels.tolist()) == (NAMES, [0, 1, 1])
    for name, found in read.models.items():
        assert found.classes.tolist() == written.models[name].classes.tolist()
        np.testing.assert_allclose(
            found.probabilities, written.models[name].probabilities, rtol=1e-5
        )


def test_the_file_is_a_table_with_class_names(tmp_path):
    path = tmp_path / "answers.csv"
    write_answers(path, answers(), CLASSES)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == NAMES
    assert rows[1]["class"] == 'the "second"'
    best = [CLASSES[each] for each in LOGITS["teacher"].argmax(1)]
    assert [row["teacher"] for row in rows] == best


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda text: text.replace("image,", "file,"), "other columns"),
        (lambda text: text.replace("ζ", "ξ"), "has the class 'ξ'"),
        (lambda text: text[: text.rindex(",")], "cannot be read"),
        (lambda text: "", "cannot be read"),
        (lambda text: text.replace("0.", "zero.", 1), "cannot be read"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, change, problem):
    path = tmp_path / "answers.csv"
    write_answers(path, answers(), CLASSES)
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(ArtifactError, match=problem) as caught:
        read_answers(path, CLASSES)
    assert caught.value.path == path and len(str(caught.value).splitlines()) == 1
