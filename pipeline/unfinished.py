"""Names of unfinished files and folders, and what processes that were killed left of them."""

from __future__ import annotations

import os
import platform
import re
import secrets
import shutil
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil

# Names the process, so that what it leaves when it is killed can be recognized.
_OWNER = re.compile(
    rf"\.(?P<name>.*)\.{re.escape(platform.node())}-(?P<pid>\d+)-[0-9a-f]{{8}}(\.|$)", re.DOTALL
)


def temporary_path(path: Path) -> Path:
    """A hidden name beside ``path``, for its unfinished content."""
    owner = f"{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}"
    return path.with_name(f".{path.name[:100]}.{owner}.part")


def remove_leftovers(path: Path) -> None:
    """Removes what processes that were killed left of the same file or folder."""
    for other in _leftovers(path.parent.absolute()).pop(path.name[:100], []):
        with suppress(OSError):
            shutil.rmtree(other) if other.is_dir() and not other.is_symlink() else other.unlink()


@cache  # listed once, since a folder may hold very many files
def _leftovers(folder: Path) -> dict[str, list[Path]]:
    """Temporary files and folders of ended processes, by the names that they were for."""
    found: dict[str, list[Path]] = {}
    for other in folder.iterdir():
        owner = _OWNER.match(other.name)
        if owner and not psutil.pid_exists(int(owner["pid"])):
            found.setdefault(owner["name"], []).append(other)
    return found


def lasting(folder: Path) -> Path:
    """The folder, or the one that holds it while it is unfinished."""
    unfinished = (each for each in (folder, *folder.parents) if _OWNER.match(each.name))
    return next((each.parent for each in unfinished), folder)
