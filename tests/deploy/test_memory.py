"""Peak memory, held to memory that is known to be there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from finch_runtime.memory import peak_bytes

# Takes so many MiB, gives them back, and says what the peak was before, then, and after.
PROGRAM = """\
from finch_runtime.memory import peak_bytes
before = peak_bytes()
held = bytearray(64 << 20)
then = peak_bytes()
del held
print(before, then, peak_bytes())
"""


def test_the_peak_holds_what_was_there_and_stays() -> None:
    own = bytearray(256 << 20)  # of the process that starts the other one: none of its own
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    before, then, after = map(int, run.stdout.split())
    assert 64 << 20 <= then - before < 72 << 20
    assert after == pytest.approx(then, rel=0.01)  # the kernel's own count is not exact
    if sys.platform == "linux":
        assert before < len(own)


def test_linux_s_figure_is_in_kib(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmPeak:\t  999999 kB\nVmHWM:\t   30116 kB\nVmRSS:\t 1 kB\n")
    assert peak_bytes(status) == 30116 * 1024


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell")
def test_other_systems_are_asked_their_way(tmp_path: Path) -> None:
    import resource

    factor = 1 if sys.platform == "darwin" else 1024
    least = factor * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = peak_bytes(tmp_path / "missing")
    assert peak is not None and peak >= least
