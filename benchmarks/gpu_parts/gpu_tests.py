"""The tests with the mark `gpu`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from .finding import Finding, at_most, required
from .settings import ROOT, Settings

MARK = "pytest.mark.gpu"


def find(settings: Settings) -> Iterator[Finding]:
    """Numbers of tests by result, and what failed or was skipped."""
    report = settings.folder / "gpu_tests.xml"
    report.unlink(missing_ok=True)
    # Only their files, since the collection of all tests takes longer than these do.
    files = [
        str(path)
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if MARK in path.read_text(encoding="utf-8")
    ]
    pytest.main([f"--rootdir={ROOT}", "-q", "-m", "gpu", f"--junitxml={report}", *files])
    yield from read_report(report, must_run=settings.device_type == "cuda")


def read_report(path: Path, *, must_run: bool) -> Iterator[Finding]:
    """The findings of pytest's JUnit XML file.

    Args:
        path: The file.
        must_run: At least one test must pass.
    """
    passed, bad = 0, []
    for case in ElementTree.parse(path).iter("testcase"):
        name, children = case.get("name"), {child.tag: child for child in case}
        skipped = children.get("skipped")
        failed = children.get("failure", children.get("error"))
        if failed is not None:
            bad.append(f"{name}: {(failed.get('message') or '').splitlines()[0]}")
        elif skipped is not None:
            yield Finding(f"skipped: {name}", skipped.get("message") or "")
        else:
            passed += 1
    for line in bad:
        yield required("failed", line, met=False, target="passes")
    yield at_most("failed", len(bad), "tests", 0)
    if must_run:
        yield required("passed", f"{passed} tests", passed > 0, "at least 1")
    else:
        yield Finding("passed", passed, "tests")
