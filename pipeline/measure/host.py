"""The facts about a machine that its measurements depend on and that do not change by themselves.

Frequency, load and free memory are left out on purpose: a measurement is taken again when one of
these facts differs, and it must not be taken again because the machine was busy for a moment.
"""

from __future__ import annotations

import os
import platform
import re
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil

_X86_FLAGS = (
    "avx avx2 fma f16c avx512f avx512bw avx512_vnni avx512_bf16 avx512_fp16 avx_vnni avx_vnni_int8 "
    "amx_tile amx_int8 amx_bf16"
)
_ARM_FLAGS = "neon asimd asimdhp asimddp i8mm bf16 sve sve2 sme"

# What decides how fast the kernels of the inference runtimes are, as Linux spells it.
VECTOR_FLAGS = frozenset(f"{_X86_FLAGS} {_ARM_FLAGS}".split())


@dataclass(frozen=True)
class Host:
    """Stable facts of one machine; ``dataclasses.asdict`` gives a JSON value.

    Attributes:
        cpu: Model name; on Arm the board's name or the ids of the core types.
        architecture: ``x86_64``, ``aarch64``, ...
        flags: Those of ``VECTOR_FLAGS`` that the CPU has, sorted.
        physical_cores: None where the system does not tell.
        logical_cores: Cores the system shows.
        affinity: Cores this process may use, such as ``0-3,8``; empty where it cannot be asked.
        memory_gib: Memory, rounded to GiB.
        system: System and kernel family, such as ``Linux 6.1``.
        python: Version of Python.
        runtimes: Version per installed inference runtime.
        governor: What sets the clock of the cores, such as ``performance`` or ``schedutil``; empty
            where the system does not tell.
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
    runtimes: dict[str, str]
    governor: str = ""


def describe_host() -> Host:
    """Describes the machine this process runs on."""
    cpu, flags = _describe_cpu()
    return Host(
        cpu=cpu,
        architecture=platform.machine(),
        flags=vector_flags(flags),
        physical_cores=psutil.cpu_count(logical=False),
        logical_cores=os.cpu_count() or 1,
        affinity=as_ranges(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else "",
        memory_gib=round(psutil.virtual_memory().total / 2**30),
        system=f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        python=platform.python_version(),
        runtimes=_runtime_versions(),
        governor=read_governor(),
    )


def read_governor(sys: Path = Path("/sys")) -> str:
    """The governors of the cores, sorted; empty where there are none.

    Args:
        sys: Where Linux's sysfs is mounted.
    """
    names = set()
    for path in sys.glob("devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"):
        with suppress(OSError):
            names.add(path.read_text(encoding="ascii", errors="replace").strip())
    return " + ".join(sorted(names))


def read_cpuinfo(text: str) -> tuple[str, frozenset[str]]:
    """Model name and flags out of the text of Linux's ``/proc/cpuinfo``.

    Arm kernels give no model name: there it is the board's name where the kernel tells it, or the
    implementer and part numbers of every type of core.
    """
    fields: dict[str, list[str]] = {}
    for key, value in re.findall(r"^([^\t:]+?)\s*:[ \t]*(.*)$", text, re.MULTILINE):
        fields.setdefault(key, []).append(value.strip())
    for key in ("model name", "Model", "Hardware"):
        if key in fields:
            name = fields[key][0]
            break
    else:
        makers, parts = fields.get("CPU implementer", []), fields.get("CPU part", [])
        cores = sorted({f"{maker}/{part}" for maker, part in zip(makers, parts, strict=False)})
        name = " + ".join(cores) or "unknown"
    lists = fields.get("flags", []) + fields.get("Features", [])
    # A flag counts when every core has it: a thread may run on any of them.
    flags = frozenset.intersection(*(frozenset(line.split()) for line in lists or [""]))
    return name, flags


def _describe_cpu() -> tuple[str, frozenset[str]]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        # py-cpuinfo takes a second and starts processes, so it is for other systems alone.
        import cpuinfo

        info = cpuinfo.get_cpu_info()
        return str(info.get("brand_raw", "unknown")), frozenset(info.get("flags", []))
    return read_cpuinfo(text)


def vector_flags(flags: frozenset[str]) -> list[str]:
    """Those that count, sorted."""
    return sorted(VECTOR_FLAGS & flags)


def as_ranges(numbers: set[int]) -> str:
    """Numbers as a text such as ``0-3,8``."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(f"{a}-{b}" if b > a else f"{a}" for a, b in ranges)


def _runtime_versions() -> dict[str, str]:
    versions = {}
    for name in ("onnxruntime", "openvino"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
