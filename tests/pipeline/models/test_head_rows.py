import unicodedata

import pytest

from pipeline.errors import ParameterError
from pipeline.models.class_names import KnownClasses
from pipeline.models.head_rows import choose_rows

CLASSES = ("1", "10", "11", "2")
KNOWN = KnownClasses(("1", "2", "10", "11"), "labels.txt")


def test_rows_are_matched_by_name_and_not_by_position():
    chosen = choose_rows("match", CLASSES, 4, KNOWN)
    assert chosen.rows == (0, 2, 3, 1)
    assert "labels.txt" in " ".join(chosen.remarks)


def test_rows_of_other_classes_are_left_and_new_classes_are_named():
    known = KnownClasses(("bird", "10", "1", "fish"), "labels.txt")
    chosen = choose_rows("match", CLASSES, 4, known)
    assert chosen.rows == (2, 1, None, None)
    text = " ".join(chosen.remarks)
    assert "11, 2" in text
    assert "labels.txt that are no class of the data: bird, fish" in text


def test_without_names_no_row_is_taken_unless_told():
    chosen = choose_rows("match", CLASSES, 4, None)
    assert chosen.rows == (None,) * 4
    text = " ".join(chosen.remarks)
    assert "class_names" in text
    assert "head: keep" in text
    assert "head: keep" not in " ".join(choose_rows("match", CLASSES, 5, None).remarks)
    assert choose_rows("keep", CLASSES, 4, None).rows == (0, 1, 2, 3)
    assert choose_rows("fresh", CLASSES, 4, KNOWN).rows == (None,) * 4


def test_kept_rows_must_be_as_many_as_the_classes():
    with pytest.raises(ParameterError, match=r"keep.*5 rows.*4 classes"):
        choose_rows("keep", CLASSES, 5, None)


def test_kept_rows_in_an_order_that_the_names_contradict_are_remarked():
    assert "labels.txt" in " ".join(choose_rows("keep", CLASSES, 4, KNOWN).remarks)
    same = KnownClasses(CLASSES, "labels.txt")
    assert "labels.txt" not in " ".join(choose_rows("keep", CLASSES, 4, same).remarks)


def test_names_for_another_number_of_rows_are_not_used():
    chosen = choose_rows("match", CLASSES, 5, KNOWN)
    assert chosen.rows == (None,) * 4
    assert "5 rows" in " ".join(chosen.remarks)


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ("Café au lait", unicodedata.normalize("NFD", "café_au-lait")),
        ("red fox", "Red_Fox"),
        ("a-b", "a b"),
        ("Straße", "strasse"),
    ],
)
def test_names_that_differ_in_case_separators_or_encoding_match_and_are_listed(here, there):
    chosen = choose_rows("match", ("x", here), 2, KnownClasses((there, "x"), "labels.txt"))
    assert chosen.rows == (1, 0)
    assert f"{there} is {here}" in " ".join(chosen.remarks)


def test_names_that_are_alike_only_ambiguously_do_not_match():
    two_there = KnownClasses(("a b", "a_b", "x"), "labels.txt")
    assert choose_rows("match", ("A-B", "x"), 3, two_there).rows == (None, 2)
    one_there = KnownClasses(("A B", "x"), "labels.txt")
    assert choose_rows("match", ("a b", "a_b", "x"), 2, one_there).rows == (None, None, 1)
    # An equal name is taken first, so only one is left to be alike.
    assert choose_rows("match", ("a b", "A-B"), 3, two_there).rows == (0, 1)
