"""What differs from the run in the last commit."""

from dataclasses import replace

import pytest

from pipeline.params.editing import flattened
from pipeline.report.artifacts import LastRun
from pipeline.report.metrics import run_metrics
from pipeline.report.page import render
from tests.pipeline.report.html_tree import Tree, rows, table

MINUS = "\N{MINUS SIGN}"


def page(facts, **changes):
    params = dict(flattened(facts.manifest.params))
    last = LastRun("1a2b3c4", run_metrics(facts), params)
    return Tree(render(replace(facts, last_run=replace(last, **changes)))).root


def test_without_a_committed_run_there_is_no_section(tree):
    assert "changes" not in {h2.attributes.get("id") for h2 in tree.all("h2")}


def test_metrics_are_shown_before_and_now(facts):
    now = run_metrics(facts)
    root = page(facts, metrics={"test_accuracy": now["test_accuracy"] + 0.125, "p50_ms": 1.0})
    found = {
        row[0]: row[1:] for row in rows(table(root, "Metrics of the last commit and of this run"))
    }
    assert found["test_accuracy"][2] == f"{MINUS}0.125"
    assert found["p50_ms"][0] == "1" and set(found) == {"Metric", "test_accuracy", "p50_ms"}
    assert "1a2b3c4" in root.text


def test_only_parameters_with_another_value_are_listed(facts):
    params = dict(flattened(facts.manifest.params))
    params |= {"finetune.epochs": 5, "distill.of_an_earlier_version": 1}
    found = rows(table(page(facts, params=params), "Changed parameters"))
    assert found[1:] == [["finetune.epochs", "5", "6"]]


@pytest.mark.parametrize("params", [{}, None])
def test_equal_parameters_are_not_listed(facts, params):
    root = page(facts) if params is None else page(facts, params=params)
    assert "Changed parameters" not in root.text
    assert ("All parameters are the same." in root.text) == (params is None)
