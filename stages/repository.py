"""Makes a folder a git and DVC repository."""

from __future__ import annotations

import logging
import shutil
import subprocess
from pathlib import Path

from pipeline.errors import FinchError, one_line


def check_git() -> None:
    """Raises FinchError if git is not installed."""
    if shutil.which("git") is None:
        raise FinchError("git", "is not installed", "on Debian: apt-get install git")


def init_repositories(folder: Path) -> None:
    """Initializes git and DVC in a folder, which may lie inside another repository.

    Raises:
        FinchError: git or DVC fails.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from scmrepo.exceptions import SCMError

    _git(folder, "init", "--quiet")
    logging.getLogger("dvc").setLevel(logging.WARNING)  # it says what to do next
    try:
        Repo.init(str(folder)).close()
    except (DvcException, SCMError) as error:
        raise FinchError(folder, f"DVC cannot be initialized: {one_line(error)}") from None


def commit_all(folder: Path) -> None:
    """Commits all files; DVC's experiments and DVCLive need a commit.

    Raises:
        FinchError: git fails.
    """
    _git(folder, "add", "--all")
    # Neither a signature nor a hook that the user's configuration may ask for.
    _git(folder, *_identity(folder), "-c", "commit.gpgSign=false", *_COMMIT)


_COMMIT = ("commit", "--quiet", "--no-verify", "--message", "Start with finch init")


def _identity(folder: Path) -> tuple[str, ...]:
    """Options with an author, if the user's configuration has none."""
    asked = ("git", "-C", str(folder), "config", "user.email")
    if subprocess.run(asked, capture_output=True, check=False).returncode == 0:
        return ()
    return ("-c", "user.name=finch", "-c", "user.email=finch@localhost")


def _git(folder: Path, *words: str) -> None:
    command = ("git", "-C", str(folder), *words)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = " ".join(done.stderr.split())
        raise FinchError(folder, f"git fails: {reason}", "correct that, and run it again")
