"""README.md: its length, its commands, and the figures of the default run."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

PROJECT = Path(__file__).parents[2]
README = (PROJECT / "README.md").read_text("utf-8")
FILES = ("reports/metrics.json", "reports/student_metrics.json")


def recorded_metrics() -> list[dict[str, float]]:
    """The metrics in the working tree, and those of the last commit if git knows them.

    After `make repro`, the former are those of this machine.
    """
    texts = [[(PROJECT / file).read_text() for file in FILES]]
    shown = [
        subprocess.run(
            ["git", "show", f"HEAD:{file}"],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
        for file in FILES
    ]
    if not any(done.returncode for done in shown):
        texts.append([done.stdout for done in shown])
    return [{k: v for text in both for k, v in json.loads(text).items()} for both in texts]


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
    written = (
        teacher[2].split(" (")[0],
        student[1],
        student[2].split(" (")[0],
        *selected[1:4],
        selected[5],
    )
    assert written in [
        (
            f"{100 * metrics['test_teacher']:.1f} %",
            f"{100 * metrics['val_student']:.1f} %",
            f"{100 * metrics['test_student']:.1f} %",
            f"{100 * metrics['val_accuracy']:.1f} %",
            f"{100 * metrics['test_accuracy']:.1f} % ({100 * metrics['test_balanced']:.1f} %)",
            f"{metrics['p50_ms']:.3f} ms",
            f"{metrics['model_mb']:.2f} MB",
        )
        for metrics in recorded_metrics()
    ]


def test_the_start_page_has_the_same_figures() -> None:
    start = (PROJECT / "docs/index.md").read_text("utf-8")
    assert results(start) == results(README), "copy the figures of README.md into docs/index.md"
