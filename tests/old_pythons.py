"""Environments with other Pythons than the one of the tests, as devices have."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def find_python(version: str) -> Path:
    """An interpreter of this version, such as 3.9: on the path, or installed by pyenv."""
    roots = [Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")]
    found = [path / "bin/python" for root in roots for path in root.glob(f"{version}.*")]
    found += [Path(name) for name in [shutil.which(f"python{version}")] if name]
    for python in found:
        program = "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"
        run = subprocess.run([python, "-c", program], capture_output=True, text=True, check=False)
        if run.stdout.strip() == version:
            return python
    pytest.skip(f"no Python {version} with ensurepip on this machine")


def make_environment(folder: Path, python: Path, *arguments: str | Path) -> Path:
    """Creates a virtual environment and installs packages in it; returns its interpreter."""
    subprocess.run([python, "-m", "venv", folder], check=True)
    own = folder / "bin" / "python"
    command = [own, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    return own
