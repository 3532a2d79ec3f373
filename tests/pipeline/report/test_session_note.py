"""What the page says beside the accuracy about other days."""

from dataclasses import replace

import pytest

from pipeline.report.page import render
from pipeline.report.session_note import session_note
from tests.pipeline.report.html_tree import Tree

ANOTHER_DAY = "nothing here tells how the student does on another day"


def of_dataset(dataset, told_by="capture_time", days=8, most=8, days_most=8, shared=0):
    sessions = {
        "told_by": told_by,
        "found": 8,
        "unknown": 0,
        "per_class": {"fewest": 1, "most": most},
        "days": days,
        "days_per_class": {"fewest": 1, "most": days_most},
        "shared": {
            split: {"images": 40, "shared": shared, "nearest": 0.5, "by_chance": 0.1}
            for split in ("val", "test")
        },
    }
    return replace(dataset, audit={"sessions": sessions})


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"days": 1}, ("one day:", ANOTHER_DAY)),
        ({"days_most": 1}, ("each class", ANOTHER_DAY, "the classes or the days")),
        ({"told_by": "name", "most": 1}, ("as far as numbers in file names", ANOTHER_DAY)),
        ({"shared": 40}, ("40 of 40 test images", "may be lower")),
        ({"told_by": "folder", "shared": 2}, ("2 of 40", "folders below the classes")),
    ],
)
def test_an_accuracy_that_says_little_about_other_days_has_a_note(facts, found, words):
    dataset = of_dataset(facts.dataset, **found)
    note = session_note(dataset)
    assert all(word in note for word in words)
    assert note in Tree(render(replace(facts, dataset=dataset))).root.text


@pytest.mark.parametrize("found", [{}, {"shared": 1}, {"told_by": "folder"}])
def test_an_accuracy_on_other_sessions_has_no_note(facts, found):
    assert session_note(of_dataset(facts.dataset, **found)) == ""


def test_the_section_on_data_says_what_tells_the_sessions_or_that_they_are_unknown(facts):
    assert session_note(facts.dataset) == ""
    text = Tree(render(facts)).root.text
    assert "unknown whether the test images are from other days" in text
    assert ANOTHER_DAY not in text
    dataset = of_dataset(facts.dataset, shared=1)
    text = Tree(render(replace(facts, dataset=dataset))).root.text
    assert "8, told by capture times; 1 of 40 test images" in text
