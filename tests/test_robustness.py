"""docs/robustness.md against the tests that it names."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs/robustness.md").read_text("utf-8")


def rows() -> list[list[str]]:
    lines = (line for line in PAGE.splitlines() if line.startswith("| "))
    cells = ([cell.strip() for cell in line.strip("|").split(" | ")] for line in lines)
    return [row for row in cells if row[0] != "kind"]


def test_every_row_names_a_test_that_exists() -> None:
    assert len(rows()) > 16
    for row in rows():
        assert len(row) == 3, row
        named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", row[2])
        assert named, row
        for path, name in named:
            tree = ast.parse((TESTS / path).read_text("utf-8"))
            assert any(
                isinstance(node, ast.FunctionDef) and node.name == name for node in tree.body
            )
