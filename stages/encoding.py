"""File names and texts are UTF-8, whatever the locale."""

from __future__ import annotations

import os
import sys


def ensure_utf8() -> None:
    """Restarts the process in Python's UTF-8 mode if the locale has another encoding.

    Python decodes the names of files with it, and thus the names of classes. In a Latin-1 locale
    the class ``Grün`` would get another name without an error.
    """
    was_set = os.environ.get("PYTHONUTF8") == "1"
    os.environ["PYTHONUTF8"] = "1"  # for processes that this one starts
    if sys.getfilesystemencoding() != "utf-8" and not was_set:
        # The option is needed as well, since Python may have been told to ignore its variables.
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
