"""Peak memory against memory of known size; disk usage of packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from finch_runtime.usage import installed_bytes, peak_bytes

# Allocates and frees 64 MiB; prints the peak before, during and after.
PROGRAM = """\
from finch_runtime.usage import peak_bytes
before = peak_bytes()
held = bytearray(64 << 20)
then = peak_bytes()
del held
print(before, then, peak_bytes())
"""


def test_the_peak_includes_freed_memory() -> None:
    own = bytearray(256 << 20)  # memory of the parent process does not count
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    before, then, after = map(int, run.stdout.split())
    assert 64 << 20 <= then - before < 72 << 20
    assert after == pytest.approx(then, rel=0.01)  # the kernel's count is approximate
    if sys.platform == "linux":
        assert before < len(own)


def test_vmhwm_is_in_kib(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmPeak:\t  999999 kB\nVmHWM:\t   30116 kB\nVmRSS:\t 1 kB\n")
    assert peak_bytes(status) == 30116 * 1024


@pytest.mark.skipif(sys.platform == "win32", reason="unknown on Windows")
def test_other_systems_use_getrusage(tmp_path: Path) -> None:
    import resource

    factor = 1 if sys.platform == "darwin" else 1024
    least = factor * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = peak_bytes(tmp_path / "missing")
    assert peak is not None and peak >= least


def test_disk_usage_is_the_size_of_all_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "package" / "libs"
    folder.mkdir(parents=True)
    (tmp_path / "package" / "__init__.py").write_text("raise ImportError('must not be imported')")
    (folder / "kernels.so").write_bytes(bytes(1000))
    monkeypatch.syspath_prepend(tmp_path)
    written = (tmp_path / "package" / "__init__.py").stat().st_size
    assert installed_bytes("package") == 1000 + written
    assert "package" not in sys.modules


def test_disk_usage_is_unknown_without_a_package_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "single.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    assert installed_bytes("single") is None
    assert installed_bytes("no_such_package") is None
