"""The most memory that this process has held."""

from __future__ import annotations

import re
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_bytes(status: Path = STATUS) -> int | None:
    """The process's peak resident memory so far; None where the system does not tell.

    Linux's own figure comes first: what ``getrusage`` tells there begins with the memory of the
    process that started this one.

    Args:
        status: Linux's file about the process.
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
