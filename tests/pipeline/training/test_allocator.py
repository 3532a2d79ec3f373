import subprocess
import sys

import pytest

LINUX_ONLY = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc")
# Page faults of 30 tensors of 64 MB (glibc keeps those up to 32 MB), each freed before the next.
PROGRAM = """
import resource, sys, torch
from pipeline.training.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    print(keep_freed_memory())
def use():
    torch.ones(16 << 20)
for _ in range(10):
    use()
before = resource.getrusage(resource.RUSAGE_SELF)
for _ in range(30):
    use()
after = resource.getrusage(resource.RUSAGE_SELF)
print(after.ru_minflt - before.ru_minflt, after.ru_maxrss - before.ru_maxrss)
"""


def run(mode, **env):
    call = [sys.executable, "-c", PROGRAM, mode]
    return subprocess.run(call, capture_output=True, text=True, check=True, env=env).stdout.split()


@LINUX_ONLY
def test_freed_tensors_cost_no_page_faults_and_no_more_memory():
    was_set, faults, growth = run("kept")
    if was_set == "False":
        pytest.skip("the C library is not glibc")
    default, _ = run("default")
    assert int(faults) < 100 < int(default)
    assert int(growth) < 64 << 10  # KiB


@LINUX_ONLY
def test_settings_of_the_environment_are_kept():
    assert run("kept", MALLOC_TRIM_THRESHOLD_="1000000")[0] == "False"
