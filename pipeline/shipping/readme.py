"""The README of a bundle: how to install and run it, and where it comes from."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from finch_runtime.image_size import ImageSize, height_and_width


@dataclass(frozen=True)
class Commit:
    """A commit of git: its hash, and its day, such as ``2026-05-04``."""

    commit: str
    date: str


def read_commit(folder: Path) -> Commit | None:
    """The commit that is checked out in a folder; None without git, a repository or a commit."""
    command = ["git", "-C", str(folder), "log", "-1", "--format=%H %cs"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return Commit(*done.stdout.split())


def bundle_readme(
    name: str,
    *,
    classes: int,
    image_size: ImageSize,
    channels: int,
    model: str,
    made_by: str,
    commit: Commit | None,
    has_data_license: bool,
) -> str:
    """The text, in Markdown; the same arguments give the same text.

    Args:
        name: Name of the bundle.
        classes: Number of classes.
        image_size: Size of the model's input.
        channels: 3 for RGB images, 1 for gray ones.
        model: Runtime and precision of the model.
        made_by: Program and version that packed the bundle.
        commit: Commit of the project that the model was made in.
        has_data_license: Whether the bundle has ``LICENSE-DATA.txt``.
    """
    height, width = height_and_width(image_size)
    order = "" if height == width else " (height x width)"
    color = "RGB" if channels == 3 else "gray"
    origin = f", commit {commit.commit[:12]} of {commit.date}" if commit else ""
    license_of_data = "- `LICENSE-DATA.txt`: license of the training images\n"
    return f"""\
# {name}

Classifies images into the {classes} classes in `labels.txt`. Install, then classify:

    python3 -m venv env && env/bin/pip install -r requirements.txt
    env/bin/python -I finch_runtime classify PHOTO.jpg

In place of `PHOTO.jpg`, pass one or more images, a folder, or `-` for an image on standard input.
`--json` prints all results as JSON. `bench PHOTO.jpg` measures latency and memory on this device.

- model: {model}, {color} images of {height} x {width} pixels{order}, to which others are scaled
- made by {made_by}{origin}
- `manifest.json`: measurements of all candidates, parameters, and the SHA-256 of every file
- `finch_runtime/LICENSE`: license of the code, Apache-2.0
{license_of_data if has_data_license else ""}"""
