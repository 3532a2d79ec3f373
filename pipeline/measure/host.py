"""Facts about a machine that affect its measurements and do not change by themselves.

Frequency, load and free memory are not among them: measurements are repeated when one of these
facts changes, and a busy machine must not cause that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from finch_runtime.runtimes import RUNTIMES

from pipeline.measure.devices import remote_runner

_X86_FLAGS = (
    "avx avx2 fma f16c avx512f avx512bw avx512_vnni avx512_bf16 avx512_fp16 avx_vnni avx_vnni_int8 "
    "amx_tile amx_int8 amx_bf16"
)
_ARM_FLAGS = "neon asimd asimdhp asimddp i8mm bf16 sve sve2 sme"

# Instruction sets that determine the speed of inference kernels, in the spelling of Linux.
VECTOR_FLAGS = frozenset(f"{_X86_FLAGS} {_ARM_FLAGS}".split())


@dataclass(frozen=True)
class Host:
    """Stable facts about one machine.

    Attributes:
        cpu: Model name; on Arm the name of the board or the ids of the core types.
        architecture: ``x86_64``, ``aarch64``, ...
        flags: CPU flags in ``VECTOR_FLAGS``, sorted.
        physical_cores: None if unknown.
        logical_cores: Number of cores of the system.
        affinity: Cores that this process may use, such as ``0-3,8``; empty if unknown.
        memory_gib: Memory, rounded to GiB.
        system: System and kernel version, such as ``Linux 6.1``.
        python: Python version.
        runtimes: Version of each installed inference runtime.
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
    runtimes: dict[str, str]
    governor: str = ""


def describe_host() -> Host:
    """Describes the machine of this process."""
    facts = remote_runner.describe(RUNTIMES)
    if not facts["cpuinfo"]:  # not Linux, where py-cpuinfo is slower and starts processes
        import cpuinfo
        import psutil

        info = cpuinfo.get_cpu_info()
        name, flags = info.get("brand_raw", "unknown"), " ".join(info.get("flags", []))
        facts["cpuinfo"] = f"model name\t: {name}\nflags\t: {flags}\n"
        facts["physical_cores"] = psutil.cpu_count(logical=False)
        facts["memory_bytes"] = psutil.virtual_memory().total
    return host_from(facts)


def host_from(facts: Mapping[str, Any]) -> Host:
    """Converts the facts that ``remote_runner.describe`` collected on a machine."""
    cpu, flags = read_cpuinfo(facts["cpuinfo"])
    return Host(
        cpu=cpu,
        architecture=facts["architecture"],
        flags=sorted(VECTOR_FLAGS & flags),
        physical_cores=facts["physical_cores"],
        logical_cores=facts["logical_cores"],
        affinity=_as_ranges(facts["affinity"]),
        memory_gib=round(facts["memory_bytes"] / 2**30),
        system=f"{facts['system']} {'.'.join(facts['release'].split('.')[:2])}",
        python=facts["python"],
        runtimes={name: v for name, v in facts["versions"].items() if name in RUNTIMES},
        governor=facts["governor"],
    )


def read_cpuinfo(text: str) -> tuple[str, frozenset[str]]:
    """Model name and flags in the text of Linux's ``/proc/cpuinfo``.

    Arm kernels give no model name. There it is the name of the board, if available, or the
    implementer and part numbers of all core types.
    """
    fields: dict[str, list[str]] = {}
    for key, value in re.findall(r"^([^\t:]+?)\s*:[ \t]*(.*)$", text, re.MULTILINE):
        fields.setdefault(key, []).append(value.strip())
    for key in ("model name", "Model", "Hardware"):
        if key in fields:
            name = fields[key][0]
            break
    else:
        implementers, parts = fields.get("CPU implementer", []), fields.get("CPU part", [])
        cores = sorted({f"{i}/{part}" for i, part in zip(implementers, parts, strict=False)})
        name = " + ".join(cores) or "unknown"
    lists = fields.get("flags", []) + fields.get("Features", [])
    # Only flags of all cores count: a thread may run on any core.
    flags = frozenset.intersection(*(frozenset(line.split()) for line in lists or [""]))
    return name, flags


def _as_ranges(numbers: list[int]) -> str:
    """Formats numbers as ``0-3,8``."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(f"{a}-{b}" if b > a else f"{a}" for a, b in ranges)
