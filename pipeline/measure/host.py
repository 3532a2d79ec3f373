"""Hardware and software of a machine that affect its measurements.

Frequency, load and free memory are left out: measurements are repeated if anything recorded here
changes, and a busy machine must not cause that.
"""

from __future__ import annotations

from dataclasses import dataclass

from finch_runtime.runtimes import RUNTIMES

from pipeline.measure.devices import remote_runner

# What a bundle may need on a device. The package of a runtime has the runtime's name.
PACKAGES = ("numpy", "pillow", *RUNTIMES)


@dataclass(frozen=True)
class Host:
    """Hardware and software of one machine.

    Attributes:
        cpu: Model name; on Arm the name of the board or the ids of the core types.
        architecture: ``x86_64``, ``aarch64``, ...
        flags: CPU flags in ``remote_runner.VECTOR_FLAGS``, sorted.
        physical_cores: None if unknown.
        logical_cores: Number of cores of the system.
        affinity: Cores that this process may use, such as ``0-3,8``; empty if unknown.
        memory_gib: Memory, rounded to GiB.
        system: System and kernel version, such as ``Linux 6.1``.
        python: Python version.
        packages: Version of each installed package in ``PACKAGES``, by its name on PyPI.
        governor: CPU frequency governors, such as ``performance``; empty if unknown.
    """

    cpu: str
    architecture: str
    flags: list[str]
    physical_cores: int | None
    logical_cores: int
    affinity: str
    memory_gib: int
    system: str
    python: str
    packages: dict[str, str]
    governor: str = ""


def describe_host() -> Host:
    """Describes the machine of this process."""
    facts = remote_runner.describe(PACKAGES)
    if facts["cpu"] == "unknown":  # not Linux, where py-cpuinfo is slower and starts processes
        import cpuinfo
        import psutil

        info = cpuinfo.get_cpu_info()
        facts["cpu"] = info.get("brand_raw", "unknown")
        facts["flags"] = sorted(remote_runner.VECTOR_FLAGS & set(info.get("flags", [])))
        facts["physical_cores"] = psutil.cpu_count(logical=False)
        facts["memory_gib"] = round(psutil.virtual_memory().total / 2**30)
    return Host(**facts)
