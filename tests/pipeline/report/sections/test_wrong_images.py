"""Images that the shipped model classifies wrongly."""

import re
from dataclasses import replace

import numpy as np

from pipeline.report.page import render
from tests.pipeline.report.html_tree import Tree, section


def test_images_that_only_the_teacher_classifies_correctly_are_shown(tree, facts):
    labels, models = facts.answers.labels, facts.answers.models
    right = {name: found.predictions == labels for name, found in models.items()}
    lost = np.flatnonzero(right["teacher"] & ~right["shipped"])
    assert len(lost) > 8
    found = section(tree, "wrong-images")
    assert f"{len(lost)} test images of 306" in found.text
    first, *_ = found.all("ul")
    cards = [card.text for card in first.all("li")]
    confidence = models["shipped"].probabilities[:, 0]
    shown = [int(re.search(r"cells/<(\d+)>\.png", card)[1]) for card in cards]
    assert len(shown) == 8 and set(shown) <= set(lost.tolist())
    assert min(confidence[shown]) >= max(confidence[np.setdiff1d(lost, shown)])
    for at, card in zip(shown, cards, strict=True):
        names = [facts.dataset.classes[each] for each in models["teacher"].classes[at]]
        assert card.startswith(f"{names[0]} Shipped: ")
        for name, probability in zip(names, models["teacher"].probabilities[at], strict=True):
            shown_as = f"{name} {100 * probability:.1f} %"
            assert shown_as in card.split("Teacher: ")[1].replace("\N{NO-BREAK SPACE}", " ")


def test_images_that_quantization_changed_are_counted(tree):
    # 6 predictions lost and 3 gained.
    text = section(tree, "wrong-images").text
    assert "9 test images of 306 have another class than with the fp32 student" in text
    assert "classifies 6 of them correctly; the shipped model 3" in text


def test_a_shipped_fp32_student_has_not_changed(facts):
    chosen = replace(facts.manifest.chosen, name=facts.evaluation.reference)
    shipped = replace(facts, manifest=replace(facts.manifest, chosen=chosen))
    assert "quantization" not in section(Tree(render(shipped)).root, "wrong-images").text.casefold()
