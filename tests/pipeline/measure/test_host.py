import json
import os
import subprocess
import sys
from dataclasses import asdict

import pytest

from pipeline.measure.devices import remote_runner
from pipeline.measure.devices.remote_runner import VECTOR_FLAGS, read_cpuinfo
from pipeline.measure.host import describe_host

XEON = """\
processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 85
model name\t: Intel(R) Xeon(R) Gold 6248 CPU @ 2.50GHz
cpu MHz\t\t: {mhz}
flags\t\t: fpu vme sse2 fma f16c avx avx2 avx512f avx512bw {extra}
power management:

"""
RASPBERRY_PI = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU part\t: 0xd08

Hardware\t: BCM2835
Revision\t: c03114
Model\t\t: Raspberry Pi 4 Model B Rev 1.4
"""
BIG_LITTLE = "".join(
    f"processor\t: {i}\nFeatures\t: fp asimd asimdhp asimddp\n"
    f"CPU implementer\t: 0x41\nCPU part\t: {part}\n\n"
    for i, part in enumerate(["0xd05", "0xd05", "0xd0b", "0xd0b"])
)


def test_a_second_process_sees_the_same_host():
    script = (
        "import json, dataclasses, pipeline.measure.host as h;"
        "print(json.dumps(dataclasses.asdict(h.describe_host())))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert json.loads(run.stdout) == asdict(describe_host())


def test_the_flags_are_those_that_py_cpuinfo_finds():
    import cpuinfo

    assert describe_host().flags == sorted(VECTOR_FLAGS & set(cpuinfo.get_cpu_info()["flags"]))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity")
def test_affinity_is_part_of_the_host():
    first = min(os.sched_getaffinity(0))
    script = (
        f"import os; os.sched_setaffinity(0, {{{first}}});"
        "from pipeline.measure.host import describe_host; print(describe_host().affinity)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert run.stdout.strip() == str(first)


def test_affinity_is_formatted_as_ranges(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {9, 0, 2, 1, 5, 8}, raising=False)
    assert describe_host().affinity == "0-2,5,8-9"


def test_the_governors_of_all_cores_are_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(remote_runner, "CPUS", tmp_path)
    assert describe_host().governor == ""
    for core, governor in enumerate(["schedutil", "performance", "schedutil"]):
        folder = tmp_path / f"cpu{core}/cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_governor").write_text(f"{governor}\n")
    assert describe_host().governor == "performance + schedutil"


def test_an_x86_cpu_has_a_model_name_and_flags():
    name, flags = read_cpuinfo(XEON.format(mhz=999.9, extra="avx512_vnni") * 2)
    assert name == "Intel(R) Xeon(R) Gold 6248 CPU @ 2.50GHz"
    assert {"avx2", "avx512f", "avx512_vnni"} <= flags
    assert "avx_vnni" not in flags


def test_frequency_is_not_part_of_the_host():
    slow, fast = (XEON.format(mhz=mhz, extra="") for mhz in (800.0, 3900.0))
    assert read_cpuinfo(slow) == read_cpuinfo(fast)


def test_flags_are_those_of_all_cores():
    mixed = XEON.format(mhz=1, extra="avx_vnni") + XEON.format(mhz=1, extra="")
    assert "avx_vnni" not in read_cpuinfo(mixed)[1]


@pytest.mark.parametrize(
    ("text", "name", "dot_product"),
    [
        (RASPBERRY_PI, "Raspberry Pi 4 Model B Rev 1.4", False),
        (BIG_LITTLE, "0x41/0xd05 + 0x41/0xd0b", True),
        ("", "unknown", False),
    ],
)
def test_an_arm_cpu_is_named_by_its_board_or_its_cores(text, name, dot_product):
    found, flags = read_cpuinfo(text)
    assert found == name
    assert ("asimddp" in flags) == dot_product


def test_other_systems_are_described_by_py_cpuinfo_and_psutil(monkeypatch):
    import psutil

    here = describe_host()
    unknown = {"cpu": "unknown", "flags": [], "physical_cores": None, "memory_gib": 0}
    facts = {**remote_runner.describe([]), **unknown}
    monkeypatch.setattr(remote_runner, "describe", lambda _: facts)
    there = describe_host()
    assert there.flags == here.flags
    assert (there.memory_gib, there.physical_cores) == (
        here.memory_gib,
        psutil.cpu_count(logical=False),
    )
