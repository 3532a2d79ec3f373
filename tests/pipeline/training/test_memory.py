import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.training import memory_use

FEW, MANY = 2_000, 200_000
# Labels, indices and their shuffled order, 8 bytes an image each; as much again for whoever grows
# an array by copying it; and what two processes that do the same thing differ by.
ALLOWED = 6 * 8 * (MANY - FEW) + (4 << 20)

# What is freed goes back to the system at once; it would count by chance otherwise.
GIVEN_BACK = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}


def measured(folder, images):
    memory_use.prepare(folder, images)  # here, so that what it takes is not measured
    paths = f".{os.pathsep}deploy/python"
    done = subprocess.run(
        [sys.executable, "-m", memory_use.__name__, str(folder)],
        cwd=Path(__file__).parents[3],
        env=os.environ | GIVEN_BACK | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_hundred_times_the_images_take_no_more_memory(tmp_path):
    if not (sys.platform == "linux" and memory_use.anonymous_bytes()):
        pytest.skip("only Linux tells how much memory a process has of its own (RssAnon)")
    few, many = measured(tmp_path / "few", FEW), measured(tmp_path / "many", MANY)
    # The pixels alone would be more by 5 GB.
    assert {what: many[what] - few[what] <= ALLOWED for what in few} == {
        "training": True,
        "caching": True,
    }
