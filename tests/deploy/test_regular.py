"""Which paths are regular files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from finch_runtime.regular import why_unreadable


def test_a_file_and_a_link_to_it_are_regular(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("file")
    assert why_unreadable(tmp_path / "file") is why_unreadable(tmp_path / "link") is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", ["folder", "pipe", "link to the pipe", "/dev/zero"])
def test_what_is_no_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link to the pipe").symlink_to("pipe")
    assert why_unreadable(tmp_path / name) == "is not a regular file"


@pytest.mark.parametrize(
    "name", ["missing", "file/below", "link", "null\0", "\ud800", "", "a" * 300]
)
def test_what_cannot_be_opened_is_explained(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("link")
    assert why_unreadable(tmp_path / name)
