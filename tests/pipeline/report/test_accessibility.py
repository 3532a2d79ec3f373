"""The report in a browser: readable by everyone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser import Browser


@pytest.mark.slow
def test_the_report_has_no_serious_accessibility_fault(page: str, tmp_path: Path) -> None:
    browser, file = Browser(tmp_path), tmp_path / "index.html"
    file.write_text(page.replace("<details", "<details open"), "utf-8")
    for width in (390, 1280):
        for dark in (False, True):
            assert browser.faults(file, width=width, dark=dark) == []
