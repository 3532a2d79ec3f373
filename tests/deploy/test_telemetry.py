"""Neither runtime records or sends anything."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_nothing_is_recorded_in_the_home_folder(
    make_bundle: Callable[..., Path], photos: list[Path], tmp_path: Path, runtime: str
) -> None:
    # By default both runtimes write an id to it.
    home = tmp_path / "home"
    home.mkdir()
    kept = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")  # without CI, which disables telemetry as well
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    subprocess.run(
        [sys.executable, "-m", "finch_runtime", "classify", str(photos[0])],
        cwd=make_bundle(runtime),
        env={**environment, "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
        check=True,
        capture_output=True,
    )
    assert list(home.rglob("*")) == []
