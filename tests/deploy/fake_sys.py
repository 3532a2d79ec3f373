"""A fake sysfs."""

from __future__ import annotations

from pathlib import Path


def write_sys(root: Path, files: dict[str, object]) -> Path:
    """Writes each value to its path, with a line break, as the kernel does."""
    for name, value in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return root
