"""README.md: its length, its commands, and the figures of the default run."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

PROJECT = Path(__file__).parents[2]
README = (PROJECT / "README.md").read_text("utf-8")
METRICS = {
    key: value
    for name in ("metrics", "student_metrics")
    for key, value in json.loads((PROJECT / f"reports/{name}.json").read_text()).items()
}


def results(page: str) -> str:
    """The figures of the default run in a page, from the hardware to the end of the remarks."""
    return page[page.index("- hardware:") :].partition("\n\nInt8")[0]


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_the_readme_fits_on_two_screens() -> None:
    assert len(README.splitlines()) <= 130


def test_the_commands_are_targets_of_the_makefile() -> None:
    listed = subprocess.check_output(
        ["make", "--no-print-directory", "help"], cwd=PROJECT, text=True
    )
    targets = {line.split()[0] for line in listed.splitlines()}
    assert (
        {"setup", "repro", "test"} <= set(re.findall(r"(?m)(?:^|`)make (\w+)", README)) <= targets
    )


def test_the_figures_are_those_of_the_recorded_run() -> None:
    rows = {row[0]: row for row in map(cells, README.splitlines()) if len(row) == 7}
    (teacher,) = (row for name, row in rows.items() if name.startswith("teacher"))
    (student,) = (row for name, row in rows.items() if name.endswith("Runtime fp32"))
    (selected,) = (row for name, row in rows.items() if "**selected**" in name)
    assert teacher[2].startswith(f"{100 * METRICS['test_teacher']:.1f} %")
    assert student[1] == f"{100 * METRICS['val_student']:.1f} %"
    assert student[2].startswith(f"{100 * METRICS['test_student']:.1f} %")
    assert selected[1] == f"{100 * METRICS['val_accuracy']:.1f} %"
    accuracy, balanced = METRICS["test_accuracy"], METRICS["test_balanced"]
    assert selected[2] == f"{100 * accuracy:.1f} % ({100 * balanced:.1f} %)"
    assert selected[3] == f"{METRICS['p50_ms']:.3f} ms"
    assert selected[5] == f"{METRICS['model_mb']:.2f} MB"


def test_the_start_page_has_the_same_figures() -> None:
    start = (PROJECT / "docs/index.md").read_text("utf-8")
    assert results(start) == results(README), "copy the figures of README.md into docs/index.md"
