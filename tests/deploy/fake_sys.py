"""A made-up tree of Linux's sysfs."""

from __future__ import annotations

from pathlib import Path


def write_sys(root: Path, files: dict[str, object]) -> Path:
    """Writes each value, with the line break that the kernel ends it with, under its path."""
    for name, value in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return root
