"""The Makefile, with an environment that only looks installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
STAMP = "cksum requirements.lock pyproject.toml | cksum | cut -d' ' -f1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy2(PROJECT / name, tmp_path / name)
    return tmp_path


def install(folder: Path) -> None:
    """Writes the stamp that `make setup` writes at its end."""
    stamp = subprocess.check_output(STAMP, shell=True, cwd=folder, text=True).strip()
    (folder / ".venv").mkdir()
    (folder / f".venv/.installed-{stamp}").touch()


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", *arguments], cwd=folder, capture_output=True, text=True)


def test_a_second_call_installs_nothing_unless_the_lock_changed(folder: Path) -> None:
    install(folder)
    assert make(folder, "--question", "setup").returncode == 0
    with (folder / "requirements.lock").open("a") as lock:
        lock.write("another==1.0\n")
    assert make(folder, "--question", "setup").returncode == 1


def test_repro_without_a_git_repository_is_refused_with_the_remedy(folder: Path) -> None:
    install(folder)
    done = make(folder, "repro")
    assert done.returncode != 0
    assert "git init" in done.stderr


def test_an_old_python_is_refused(folder: Path) -> None:
    old = folder / "python3.9"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = make(folder, "setup", f"PYTHON={old}")
    assert done.returncode != 0
    assert "Python 3.11" in done.stderr
    assert not (folder / ".venv").exists()
