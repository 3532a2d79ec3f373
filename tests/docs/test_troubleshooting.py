"""docs/troubleshooting.md: its messages are those of the code."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs/troubleshooting.md").read_text("utf-8")
MESSAGES = re.findall(r"^\| `(.+?)` (?:\(a warning\) )?\|", PAGE, re.MULTILINE)


def text_of(node: ast.AST) -> str | None:
    """A text in the code, with … in place of its values."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        return "".join(map(str, parts))
    return None


@cache
def texts() -> tuple[str, ...]:
    """All texts in the code without docstrings, and the Makefile."""
    found = [(PROJECT / "Makefile").read_text("utf-8")]
    for folder in ("pipeline", "stages", "deploy/python"):
        for file in (PROJECT / folder).rglob("*.py"):
            tree = ast.parse(file.read_text("utf-8"))
            kept = (node for node in ast.walk(tree) if not isinstance(node, ast.Expr))
            nodes = (child for node in kept for child in ast.iter_child_nodes(node))
            found += [text for node in nodes if (text := text_of(node)) is not None]
    return tuple(found)


def test_there_are_messages() -> None:
    assert len(MESSAGES) > 40


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_is_one_of_the_code(message: str) -> None:
    # A value may be a text itself: "… is not finite" occurs in a longer message.
    pattern = re.escape(message).replace("…", ".*")
    assert any(re.search(pattern, text, re.DOTALL) for text in texts())
