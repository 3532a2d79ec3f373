"""The data set: counts and origin."""

from dataclasses import replace

from pipeline.report.formats import TIMES
from pipeline.report.page import render
from tests.pipeline.report.html_tree import Tree, rows, table


def test_images_are_counted_per_class_and_split(tree):
    found = rows(table(tree, "Images per class and split"))
    assert found[0] == ["Class", "Training", "Validation", "Test", "All"]
    assert found[1] == ["mono 0 %", "420", "140", "140", "700"]
    assert found[-1] == ["All classes", "1,000", "334", "306", "1,640"]


def test_the_sizes_of_teacher_and_student_are_shown_where_they_differ(facts):
    def text(teacher):
        recipe = facts.teacher.recipe.model_copy(update={"image_size": teacher})
        dataset = replace(facts.dataset, image_size=teacher)
        changed = replace(facts, dataset=dataset, teacher=replace(facts.teacher, recipe=recipe))
        return Tree(render(changed)).root.text

    student = facts.student.recipe.image_size
    assert f"{student} {TIMES} {student} pixels, fit" in text(student)
    assert f"224 {TIMES} 224 pixels (teacher 224, student {student}), fit" in text(224)


def test_only_a_web_address_is_a_link(facts):
    dataset = replace(facts.dataset, origin="javascript:alert(1)")
    tree = Tree(render(replace(facts, dataset=dataset))).root
    assert "javascript:alert(1)" in tree.text
    assert not [a for a in tree.all("a") if not a.attributes["href"].startswith("#")]


def test_the_page_says_how_the_splits_were_made(facts):
    split = {"method": "published", "carved": ["val"]}
    dataset = replace(facts.dataset, audit={"split": split})
    text = Tree(render(replace(facts, dataset=dataset))).root.text
    assert "published; val taken from train: blocks of" in text
