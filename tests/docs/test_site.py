"""The documentation site, as `make site` builds it."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from stages.app import STAGES
from tests.browser import Browser

PROJECT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


class Page(HTMLParser):
    """Links, ids and fetched files of a page."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.ids: set[str] = set()
        self.classes: set[str] = set()
        self.feed(file.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids.add(values.get("id", ""))
        self.classes.update(values.get("class", "").split())
        if tag == "a":
            self.links.append(values.get("href", ""))
        elif tag == "link":
            self.fetched.append(values["href"])
        else:
            self.fetched += [values[name] for name in ("src", "srcset", "data") if name in values]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {file: Page(file) for file in site.rglob("*.html") if file.name != "404.html"}


def test_a_page_fetches_nothing_from_the_network(site: Path, pages: dict[Path, Page]) -> None:
    for file, page in pages.items():
        assert page.fetched
        assert [url for url in page.fetched if urlsplit(url).netloc] == [], file
        # The theme would fetch a script for these.
        assert "mermaid" not in page.classes, file
    for style in site.rglob("*.css"):
        assert "url(http" not in style.read_text("utf-8")
        assert "@import" not in style.read_text("utf-8")


def test_every_link_leads_to_a_file_and_an_element(pages: dict[Path, Page]) -> None:
    assert len(pages) > 40
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or not link:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), f"{file.name}: {link}"
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].ids, f"{file.name}: {link}"


def test_files_of_the_repository_are_copied_and_pages_of_it_are_pages(site: Path) -> None:
    copied = site / "files/LICENSE.txt"
    assert copied.read_bytes() == (PROJECT / "LICENSE").read_bytes()
    assert 'href="../files/LICENSE.txt"' in (site / "project/contributing.html").read_text("utf-8")
    assert (site / "files/pipeline/params/recipes/index.html").is_file()
    assert 'href="project/device.html"' in (site / "commands.html").read_text("utf-8")


def test_the_drawing_of_the_stages_has_all_of_them(site: Path) -> None:
    text = (site / "dvc.html").read_text("utf-8")
    drawing = text[text.index('<svg class="flowchart"') :].partition("</svg>")[0]
    for stage in STAGES:
        assert f">{stage}: " in drawing
    assert "cache_logits to distill" in drawing


def test_no_page_has_a_serious_accessibility_fault(site: Path, tmp_path: Path) -> None:
    browser = Browser(tmp_path)
    for name, width, dark in (
        ("index", 1280, False),
        ("index", 390, True),
        ("tutorial", 390, True),
        ("pipeline", 390, False),
        ("api/losses", 1280, True),
        ("api/losses", 390, False),
        ("troubleshooting", 1280, True),
    ):
        assert browser.faults(site / f"{name}.html", width=width, dark=dark) == []
