import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.training import memory_use

FEW, MANY = 2_000, 200_000
# Labels, indices and their shuffled order have 8 bytes per image each. Twice that, for copies, and
# 4 MiB of variation between processes.
ALLOWED = 6 * 8 * (MANY - FEW) + (4 << 20)

# Freed memory is returned to the system at once, so that it is never counted.
MALLOC_OPTIONS = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}


def measure(folder, images):
    memory_use.prepare(folder, images)  # in this process, so that it is not measured
    paths = f".{os.pathsep}deploy/python"
    done = subprocess.run(
        [sys.executable, "-m", memory_use.__name__, str(folder)],
        cwd=Path(__file__).parents[3],
        env=os.environ | MALLOC_OPTIONS | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_memory_does_not_depend_on_the_number_of_images(tmp_path):
    if not (sys.platform == "linux" and memory_use.anonymous_bytes()):
        pytest.skip("needs RssAnon of Linux")
    few, many = measure(tmp_path / "few", FEW), measure(tmp_path / "many", MANY)
    # The pixels of the additional images have 5 GB.
    assert {name: many[name] - few[name] <= ALLOWED for name in few} == {
        "training": True,
        "caching": True,
    }
