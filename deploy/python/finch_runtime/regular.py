"""Only regular files are opened: a pipe waits for its other end, a device node may be endless."""

from __future__ import annotations

import stat
from pathlib import Path


def why_unreadable(path: Path) -> str | None:
    """Why a path is no regular file, such as ``no such file``; None if it is one."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "no such file"
    except OSError as error:  # a loop of links, a name that is too long, no permission
        return f"cannot be read: {error.strerror}"
    except ValueError:  # a null character or a surrogate
        return "no such file: its name has characters that no file name has"
    return None if stat.S_ISREG(mode) else "is not a regular file"
