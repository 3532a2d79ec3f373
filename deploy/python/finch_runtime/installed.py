"""How much of a disk an inference runtime takes."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def installed_bytes(package: str) -> int | None:
    """Size of all files of an installed package, without what it depends on.

    Args:
        package: Name by which it is imported; it is not imported here.

    Returns:
        Bytes; None for a package that lies in no folder.
    """
    found = importlib.util.find_spec(package)
    folders = (found.submodule_search_locations if found else None) or []
    files = {file for folder in folders for file in Path(folder).rglob("*") if file.is_file()}
    return sum(file.stat().st_size for file in files) or None
