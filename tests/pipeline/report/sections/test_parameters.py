"""Parameters that differ from the recipe and the defaults."""

from dataclasses import replace

from pipeline.params.defaults import default_values
from pipeline.report.page import render
from tests.pipeline.report.html_tree import Tree, rows, section, table


def test_only_parameters_with_another_value_are_listed(tree, facts):
    found = {row[0]: row[1:] for row in rows(table(tree, "Parameters that differ"))}
    assert found["finetune.image_size"] == ["96", "160"]  # the recipe `solar-cells` has 160
    assert found["bundle.max_drop_bound"] == ["2.75", "2"]
    assert found["quantize.candidates"][1] == "\N{EN DASH}"
    assert "finetune.momentum" not in found


def test_a_run_of_the_recipe_alone_says_so(facts):
    params = default_values("photographs") | {"recipe": "photographs"}
    manifest = replace(facts.manifest, params=params)
    root = Tree(render(replace(facts, manifest=manifest))).root
    assert (
        "All parameters have the values of the recipe photographs"
        in section(root, "parameters").text
    )
