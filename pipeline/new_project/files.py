"""Writes the files of a new project."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from pipeline.params.editing import changed
from pipeline.params.reference import schema

_TEMPLATES = resources.files(__package__) / "templates"
# Templates by their path in the project. The parameters and the README are filled in.
_COPIED = {
    "dvc.yaml": "stages.yaml",  # DVC reads every dvc.yaml of a repository, also that of Finch
    "scout.yaml": "scout.yaml",
    "compare.yaml": "compare.yaml",
    ".gitignore": "gitignore",
    ".dvcignore": "dvcignore",
}
# In the folder of DVC, which DVC creates.
_OF_DVC = {"config": "dvc_config", "plots/candidates.json": "candidates.json"}


def write_files(folder: Path, name: str, images: str) -> None:
    """Writes the files of a project into an empty folder.

    Args:
        folder: The folder of the project, or one that is renamed to it later.
        name: Name of the project, for its README and, as far as its characters allow, its bundle.
        images: Path of the images, as ``prepare.path`` has it. If it is relative, it lies in the
            project, and git ignores it.
    """
    archive = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:100] or "student"
    _copy(_COPIED, folder)
    if not Path(images).is_absolute():
        with (folder / ".gitignore").open("a", encoding="utf-8") as file:
            file.write(f"/{_escaped(images)}/\n")
    values = {"prepare": {"path": images}, "bundle": {"name": archive}}
    shutil.copyfile(str(_TEMPLATES / "params.yaml"), folder / "params.yaml")
    set_params(folder / "params.yaml", values)
    text = (_TEMPLATES / "README.md").read_text(encoding="utf-8")
    version = metadata.version("finch-edge")
    text = text.format(name=name, version=version, images=images, archive=archive)
    (folder / "README.md").write_text(text, encoding="utf-8")


def write_dvc_files(folder: Path) -> None:
    """Writes the configuration of DVC, which sends nothing anywhere, and the template of a plot."""
    _copy(_OF_DVC, folder / ".dvc")


def write_schema(folder: Path) -> None:
    """Writes the JSON schema that the first line of ``params.yaml`` names, for editors."""
    text = json.dumps(schema(), ensure_ascii=False)
    (folder / "params.schema.json").write_text(text, encoding="utf-8")


def set_params(path: Path, values: Mapping[str, Any]) -> None:
    """Sets values of a parameter file; comments and all other lines stay as they are."""
    path.write_text(changed(path.read_text(encoding="utf-8"), values), encoding="utf-8")


def _copy(templates: Mapping[str, str], folder: Path) -> None:
    for path, template in templates.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((_TEMPLATES / template).read_bytes())


def _escaped(path: str) -> str:
    """A path that a pattern of git matches literally."""
    return re.sub(r"([*?\[\]\\ ])", r"\\\1", path)
