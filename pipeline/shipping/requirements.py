"""``requirements.txt`` of a bundle: versions that work, and those that were measured.

The lines are ranges, because no version of NumPy or ONNX Runtime exists for all Pythons of devices:
the versions that were measured would exclude devices with an older or newer Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from finch_runtime.runtimes import find_needs, is_older

from pipeline.errors import SelectionError
from pipeline.plugins import RUNTIMES

# What the device runtime was tried with, from Python 3.9 on.
_NUMPY, _PILLOW = "numpy>=1.22,<3", "pillow>=10.1"


def requirements(
    runtime: str, model: Path, installed: Mapping[str, str], python: str, device: str
) -> str:
    """Content of ``requirements.txt``.

    Args:
        runtime: Inference runtime of the model.
        model: File of the model, whose versions decide which releases of the runtime load it.
        installed: Version of each package on the device that selected the candidate.
        python: Version of Python on that device.
        device: Name of that device.

    Raises:
        SelectionError: The version of the inference runtime is unknown.
    """
    package = RUNTIMES[runtime].package
    if package not in installed:
        remedy = "run `finch probe`, then `finch evaluate`"
        raise SelectionError(device, f"its version of {package} is not recorded", remedy)
    needs, oldest = find_needs(runtime, model), installed[package]
    if needs and needs.version and is_older(needs.version, oldest):
        oldest = needs.version
    names = ("numpy", "pillow", package)
    measured = [f"{name}=={installed[name]}" for name in names if name in installed]
    lines = [
        "# The candidate was selected by measurements with these versions; with others, accuracy",
        f"# and latency can differ. On {device}, Python {python}: {' '.join(measured)}",
        _NUMPY,
        _PILLOW,
        f"{package}>={oldest}",
    ]
    return "".join(f"{line}\n" for line in lines)
