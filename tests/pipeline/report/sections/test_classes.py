"""Recall per class."""

from tests.pipeline.report.html_tree import rows, table

DASH = "\N{EN DASH}"


def test_recall_is_shown_per_class(tree, facts):
    found = rows(table(tree, "Recall per class"))
    for index, name in enumerate(facts.dataset.classes):
        models = (facts.verified.shipped, facts.verified.student, facts.verified.teacher)
        recalls = [model.recalls[index] for model in models]
        shown = [DASH if recall is None else f"{100 * recall:.1f}" for recall in recalls]
        count = facts.dataset.splits["test"].per_class[index]
        assert found[1 + index] == [name, str(count), *shown]
    assert ["poly 33 %", "0", DASH, DASH, DASH] in found
