"""The method and the class order."""

from dataclasses import replace

import pytest

from pipeline.params import ClassOrder
from pipeline.report.page import render
from tests.pipeline.report.html_tree import Tree, rows, section, table


def test_the_class_order_is_that_of_the_wavelet_transform(tree, facts):
    (order,) = [element for element in tree.all("ol") if "order" in element.classes]
    assert [item.text for item in order.all("li")] == [
        facts.dataset.classes[index] for index in (3, 0, 4, 1, 5, 2)
    ]
    assert facts.class_order.sha256 in tree.text
    assert order.parent.tag == "details"
    summary = next(order.parent.all("summary"))
    assert summary.text == "poly 0 %, mono 0 %, poly 33 %, … (6 classes)"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"kind": "index"}, "Class order: index"),
        ({"kind": "similarity"}, "the teacher's mean logits"),
        ({"kind": "similarity", "similarity": "weights"}, "the teacher's classifier weights"),
        ({"kind": "random", "seed": 7}, "Seed: 7"),
        ({"kind": "file", "file": "/home/alice/<b>.txt"}, "read from a file"),
    ],
)
def test_the_class_order_has_its_origin(facts, choice, expected):
    recipe = facts.student.recipe.model_copy(update={"class_order": ClassOrder(**choice)})
    page = render(replace(facts, student=replace(facts.student, recipe=recipe)))
    assert expected in Tree(page).root.text
    assert "alice" not in page


def test_the_method_has_a_description_and_its_options(facts):
    def with_method(**changes):
        recipe = facts.student.recipe.model_copy(update=changes)
        return Tree(render(replace(facts, student=replace(facts.student, recipe=recipe)))).root

    figkd = with_method()
    assert "arXiv 2505.11897" in figkd.text
    assert "CVPR 2024" in figkd.text
    plain = with_method(figkd=facts.student.recipe.figkd.model_copy(update={"kd_weight": 0.0}))
    assert "CVPR 2024" not in plain.text
    options = dict(row[:2] for row in rows(table(figkd, "Options of the method")))
    assert options["wavelet"] == "haar" and options["detail_weight"] == "0.15"

    kd = with_method(method="kd")
    assert "arXiv" not in next(p.text for p in kd.all("h3") if "Method" in p.text)
    options = dict(row[:2] for row in rows(table(kd, "Options of the method")))
    assert options["temperature"] == "4" and options["standardized"] == "no"

    cross_entropy = with_method(method="cross_entropy")
    assert "labels alone" in cross_entropy.text
    assert "Options of the method" not in str(cross_entropy)


def test_the_energy_of_the_bands_is_shown_where_it_was_measured(facts):
    assert "Energy of the teacher" not in section(Tree(render(facts)).root, "distillation").text
    energy = {"content": 0.625, "detail2": 0.25, "detail1": 0.125}
    figures = replace(facts.student.figures, band_energy=energy)
    measured = replace(facts, student=replace(facts.student, figures=figures))
    text = section(Tree(render(measured)).root, "distillation").text
    shown = text.replace("\N{NO-BREAK SPACE}", " ")
    assert "content 62.5 %, detail2 25.0 %, detail1 12.5 %" in shown
