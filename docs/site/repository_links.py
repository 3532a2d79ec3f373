"""MkDocs hook: links from pages to files of the repository also work on the site.

In the repository, pages link to each other and to files outside of ``docs/`` by relative paths.
On the site, some of these files are pages as well. All others are copied as text files, and a
folder becomes a list of its files.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "deploy/README.md": "project/device.md",
}
"""Pages of the site that are not in ``docs/``, or have another file as their counterpart."""

_LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are not in ``docs/``, and the files that pages link to."""
    for path, page in PAGES.items():
        if files.get_file_from_path(page) is None:
            files.append(File.generated(config, page, content=(ROOT / path).read_text("utf-8")))
    pages = [file for file in files.documentation_pages() if _repository_path(file.src_uri)]
    targets = {
        target
        for file in pages
        for link in _LINK.findall(file.content_string)
        if (target := _target(file.src_uri, link)) and (ROOT / target).exists()
    }
    for target in sorted(targets):
        for file in _copies(target, config):
            if files.get_file_from_path(file.src_uri) is None:
                files.append(file)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Replaces the links to files of the repository by links to their counterparts."""
    source = page.file.src_uri

    def replaced(match: re.Match[str]) -> str:
        target = _target(source, match[1])
        if target is None or not (ROOT / target).exists():
            return match[1]  # MkDocs reports it
        return posixpath.relpath(_site_path(target), posixpath.dirname(source) or ".")

    return _LINK.sub(replaced, markdown) if _repository_path(source) else markdown


def _repository_path(page: str) -> str | None:
    """Path of a page in the repository; None for a page that exists on the site only."""
    for path, counterpart in PAGES.items():
        if page == counterpart and page != "index.md":
            return path
    return None if page.startswith("files/") else f"docs/{page}"


def _target(page: str, link: str) -> str | None:
    """Path in the repository that a link of a page points to; None if that is outside."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(_repository_path(page) or ""), link))
    return None if path.startswith(("../", "/")) else path


def _site_path(path: str) -> str:
    if path in PAGES:
        return PAGES[path]
    if (ROOT / path).is_dir():
        return f"files/{path}/index.md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"files/{path}" if path.endswith(".txt") else f"files/{path}.txt"


def _copies(path: str, config: MkDocsConfig) -> list[File]:
    """The files that the site needs for a link to a file or folder of the repository."""
    if (ROOT / path).is_dir():
        names = sorted(each.name for each in (ROOT / path).iterdir() if each.is_file())
        lines = [f"# {path}", "Files of this folder in the repository:"]
        lines += ["\n".join(f"- [{n}]({_from_list(f'{path}/{n}', path)})" for n in names)]
        page = File.generated(config, _site_path(path), content="\n\n".join(lines))
        return [page, *(copy for name in names for copy in _copies(f"{path}/{name}", config))]
    if path in PAGES or path.startswith("docs/"):
        return []
    return [File.generated(config, _site_path(path), abs_src_path=str(ROOT / path))]


def _from_list(path: str, folder: str) -> str:
    return posixpath.relpath(_site_path(path), posixpath.dirname(_site_path(folder)))
