"""Resource usage: peak memory of this process, and disk usage of a Python package."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_bytes(status: Path = STATUS) -> int | None:
    """Peak resident memory of this process so far; None if the system does not report it.

    On Linux, ``/proc/self/status`` is preferred, since the peak in ``getrusage`` is inherited from
    the parent process.
    """
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB$", status.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return 1024 * int(found[1])
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def installed_bytes(package: str) -> int | None:
    """Size of all files of a Python package, without importing it; None if it has no folder."""
    found = importlib.util.find_spec(package)
    folders = (found.submodule_search_locations if found else None) or []
    files = {file for folder in folders for file in Path(folder).rglob("*") if file.is_file()}
    return sum(file.stat().st_size for file in files) or None
