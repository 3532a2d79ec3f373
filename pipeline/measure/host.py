"""Hardware and software of a machine that affect its measurements.

Frequency, load and free memory are left out: measurements are repeated if anything recorded here
changes, and a busy machine must not cause that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finch_runtime.errors import printable
from finch_runtime.runtimes import RUNTIMES
from pydantic import TypeAdapter, ValidationError

from pipeline.files import read_artifact
from pipeline.measure.devices import remote_runner

# What a bundle may need on a device. The package of a runtime has the runtime's name.
PACKAGES = ("numpy", "pillow", *RUNTIMES)


@dataclass(frozen=True)
class Host:
    """Hardware and software of one machine.

    Attributes:
        cpu: Model name; on Arm the name of the board or the ids of the core types.
        architecture: ``x86_64``, ``aarch64``, ...; a 32-bit Python is mentioned.
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


@dataclass(frozen=True)
class Unreachable:
    """A device that ``probe`` could not use; ``unreachable`` is the reason."""

    unreachable: str


def read_hosts(path: Path) -> dict[str, Host | Unreachable]:
    """Reads ``reports/hosts.json``: the devices by name.

    Raises:
        ArtifactError: The file is missing, or is not valid.
    """
    return read_artifact(path, dict[str, Host | Unreachable])


def parse_host(facts: Mapping[str, Any]) -> Host:
    """The host that ``remote_runner.describe`` returned.

    A device chooses its own texts, so control characters in them are escaped.

    Raises:
        ValueError: A value is missing or of the wrong type; the message is one line.
    """
    try:
        host = TypeAdapter(Host).validate_python(_printable(facts))
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return host


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [_printable(item) for item in value]
    if isinstance(value, Mapping):
        return {_printable(key): _printable(item) for key, item in value.items()}
    return value


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
    return parse_host(facts)
