"""``requirements.txt`` of a bundle: the versions that were measured on the device."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.errors import SelectionError
from pipeline.plugins import RUNTIMES

# Oldest versions that the device runtime works with; used for a package that the device lacks,
# such as Pillow on a device that has only classified packed images.
_OLDEST = {"numpy": "1.22", "pillow": "10.1"}


def requirements(runtime: str, installed: Mapping[str, str], device: str) -> str:
    """Content of ``requirements.txt``.

    The versions are those of the device that selected the candidate, so its Python can install
    them. The Python of this machine may be newer, and its packages may not exist for the device.

    Args:
        runtime: Inference runtime of the model.
        installed: Version of each package on the device.
        device: Name of the device, for the error message.

    Raises:
        SelectionError: The version of the inference runtime is unknown.
    """
    package = RUNTIMES[runtime].package
    if package not in installed:
        remedy = "run `finch probe`, then `finch evaluate`"
        raise SelectionError(device, f"its version of {package} is not recorded", remedy)
    lines = [
        f"{name}=={installed[name]}" if name in installed else f"{name}>={_OLDEST[name]}"
        for name in ("numpy", "pillow", package)
    ]
    return "".join(f"{line}\n" for line in lines)
