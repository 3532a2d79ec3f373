"""A git and DVC repository in which the real stages run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.small_project import PROJECT, small_params, write_photos


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A git and DVC repository with the project's code, and a folder of small images."""
    folder = tmp_path / "project"
    photos = tmp_path / "photos"
    write_photos(photos, per_class=24)
    for name in ("pipeline", "stages", "deploy"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(PROJECT / name, folder / name)
    (folder / "params.yaml").write_text(yaml.safe_dump(small_params(photos), sort_keys=False))
    shutil.copytree(
        PROJECT / ".dvc", folder / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp")
    )
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(folder)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "start"], check=True)
    return folder
