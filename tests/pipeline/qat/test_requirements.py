from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECK = """
import sys
from pipeline.errors import QATError
from pipeline.qat import requirements
try:
    getattr(requirements, sys.argv[1])()
except QATError as error:
    print(error)
"""
WITHOUT_TORCHAO = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "torchao" else find(name, *more)
"""


def error_of(function: str, before: str = "", **environment: str) -> str:
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", before + CHECK, function],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_missing_extra_raises() -> None:
    line = error_of("check_requirements", WITHOUT_TORCHAO)
    assert "torchao" in line
    assert "pip install 'finch-edge[qat]'" in line


def test_missing_compiler_raises() -> None:
    pytest.importorskip("torchao")
    line = error_of("check_requirements", CXX="no-such-compiler")
    assert "(no-such-compiler); on Debian: apt-get install g++" in line
    assert "qat.epochs to 0" in line


@pytest.mark.slow
def test_lock_file_of_a_killed_process_raises(tmp_path: Path) -> None:
    import torch

    folder = tmp_path / "nncf/quantized_functions_cpu" / torch.__version__
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    waits = {"NNCF_EXTENSION_LOAD_TIMEOUT": "1", "TORCH_EXTENSIONS_DIR": str(tmp_path)}
    line = error_of("compile_kernels", **waits)
    assert "within 1 seconds" in line
    assert f"delete {folder}" in line
