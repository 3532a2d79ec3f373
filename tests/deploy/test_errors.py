"""Messages are one line, which a terminal neither executes nor hides."""

from __future__ import annotations

import unicodedata

import pytest
from finch_runtime.errors import RuntimeProblem, printable
from hypothesis import given
from hypothesis import strategies as st

ANY_TEXT = st.text(st.characters() | st.characters(categories=["Cs", "Cf", "Cc"]))
HARMLESS = {"\u200c", "\u200d"}


@given(ANY_TEXT)
def test_printed_text_is_one_line_and_visible(text: str) -> None:
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    bad = [c for c in shown if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]
    assert set(bad) <= HARMLESS
    shown.encode("utf-8")


@given(ANY_TEXT)
def test_printing_twice_changes_nothing_more(text: str) -> None:
    assert printable(printable(text)) == printable(text)


@pytest.mark.parametrize(
    "text", ["crème brûlée", "漢字　かな", "می‌خواهم", "👩‍🔬", "a\u00a0b", r"C:\folder", "a  b", ""]
)
def test_text_in_any_language_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\u2066x\u2069\ufeff\u200b", r"\u2066x\u2069\ufeff\u200b"),
        ("line\u2028end\u2029\x85", r"line\u2028end\u2029\x85"),
        ("caf\udce9", r"caf\udce9"),
        ("\x9b31m\x7f", r"\x9b31m\x7f"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_a_terminal_would_execute_or_hide_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_problem_names_the_file_as_it_is_called() -> None:
    problem = RuntimeProblem("a  b\n\x1b[1m.jpg", "cannot\n  be read", "try\x07 again")
    assert str(problem) == r"a  b\n\x1b[1m.jpg: cannot be read; try\x07 again"
    assert str(RuntimeProblem("", "is empty", "name it")) == "'': is empty; name it"
