"""The two commands of the README, as far as they can be tried without installing again."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]


@pytest.fixture
def made() -> Path:
    if not list((PROJECT / ".venv").glob(".installed-*")):
        pytest.skip("the environment was not made by make; `make test` makes it")
    return PROJECT


def test_a_second_call_installs_nothing(made: Path) -> None:
    done = subprocess.run(["make", "--question", "setup"], cwd=made)
    assert done.returncode == 0


def test_repro_without_a_git_repository_says_what_to_do(made: Path, tmp_path: Path) -> None:
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy2(made / name, tmp_path / name)
    (tmp_path / ".venv").symlink_to(made / ".venv")
    done = subprocess.run(["make", "repro"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert "DVC needs a git repository" in done.stderr
    assert "git init" in done.stderr


def test_an_old_python_is_refused_by_name(tmp_path: Path) -> None:
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy2(PROJECT / name, tmp_path / name)
    old = tmp_path / "python3.9"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = subprocess.run(
        ["make", "setup", f"PYTHON={old}"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "older than Python 3.11" in done.stderr
    assert not (tmp_path / ".venv").exists()
